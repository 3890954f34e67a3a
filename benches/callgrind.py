"""What callgrind has counted: instructions of each thread, by layer and by function."""

import collections
import re

# The first that fits.
CRATES = [
    ("pingora_proxy", r"pingora_proxy"),
    ("pingora_core", r"pingora_core"),
    ("other crates of Pingora", r"pingora\w*"),
    ("tokio, mio, futures", r"tokio\w*|mio|futures\w*"),
    ("httparse", r"httparse"),
    ("http, h2, httpdate", r"http|h2|httpdate"),
    ("bytes", r"bytes"),
    ("hash maps", r"hashbrown|dashmap|ahash|foldhash|quick_cache|lru"),
    ("locks and shared pointers", r"parking_lot\w*|lock_api|arc_swap|crossbeam\w*|once_cell|thread_local"),
    ("serde, JSON", r"serde\w*|itoa|ryu|zmij"),
    ("crypto", r"aws_lc\w*|ring|rustls\w*|jsonwebtoken|sha2|hmac|digest"),
    ("Cedar", r"cedar_policy\w*"),
    ("log, tracing", r"log|tracing\w*"),
    ("prometheus", r"prometheus"),
    ("allocator", r"mimalloc|libmimalloc_sys"),
]
ALLOCATOR = r"_?mi_|(__libc_)?(malloc|calloc|realloc|free|memalign|posix_memalign)$|_int_(malloc|free|realloc)|malloc_consolidate"
MEMORY = r"_*(mem(cpy|move|set|cmp|chr|rchr)|bcmp|str(len|cmp|chr))"
CLOCK, HASH = r"Timespec|clock_gettime|Instant|SystemTime", r"core::hash::|::hash::random::"
OTHER_STD, SYSTEM, OTHER = "std, of nobody in particular", "libc: system calls and the rest", "other crates"
STANDARD = {"alloc", "core", "std", "compiler_builtins"}


class Thread:
    """Instructions of one thread: all of them, those of each layer and function itself, and of each with what it calls."""

    def __init__(self, path):
        self.total, self.layers = 0, collections.Counter()
        self.functions, self.inclusive = collections.Counter(), collections.Counter()
        self.names, self.known = {}, {}
        with open(path, encoding="utf-8", errors="replace") as lines:
            self.read(lines)

    def name(self, kind, text):
        """Names stand once, behind their number."""
        number, _, name = text.partition(" ")
        if name:
            self.names[kind, number] = name
        return self.names[kind, number]

    def read(self, lines):
        program = function = file = called = ""
        calls = False
        for line in lines:
            line = line.rstrip("\n")
            key, equals, value = line.partition("=")
            if not line or line[0] in "#":
                continue
            if line[0] in "+-*0123456789":
                cost = int(line.split(" ")[1])
                if calls:
                    # A function that calls itself, or one of ours called by another, is in the outer one already.
                    if module(called) is None or module(function) is None:
                        self.inclusive[called] += cost
                else:
                    self.total += cost
                    self.layers[self.layer(program, file, function)] += cost
                    self.functions[function] += cost
                calls = False
            elif not equals:
                continue
            elif key == "ob":
                program = self.name("ob", value)
            elif key in ("fl", "fi", "fe"):
                file = self.name("fl", value)
            elif key == "fn":
                function = self.name("fn", value)
            elif key == "cfn":
                called = self.name("fn", value)
            elif key in ("cfi", "cfl"):
                self.name("fl", value)
            elif key == "cob":
                self.name("ob", value)
            elif key == "calls":
                calls = True

    def layer(self, *place):
        if place not in self.known:
            self.known[place] = layer(*place)
        return self.known[place]

    def less(self, other):
        """What a longer run has more than a shorter one."""
        self.total -= other.total
        self.layers.subtract(other.layers)
        self.functions.subtract(other.functions)
        self.inclusive.subtract(other.inclusive)
        return self


def module(function):
    """Which of our modules a function is of."""
    found = re.match(r"<*(?:dyn )?cedargate::(\w+)", function)
    return found[1] if found else None


def layer(program, file, function):
    """Whose code an instruction is. Inlined code is its author's, but the standard library's is whoever's uses it."""
    if re.match(ALLOCATOR, function) or "mimalloc" in file:
        return "allocator"
    if re.search(r"/(libc|ld-linux\S*|libpthread|libm)[.-]", program):
        return "memcpy and the like" if re.match(MEMORY, function) else SYSTEM
    if found := re.search(r"/registry/src/[^/]+/([\w-]+?)-\d+\.\d", file):
        return of_crate(found[1].replace("-", "_"))
    if not re.search(r"^/rustc?/|/library/(core|alloc|std)/", file) and (found := re.search(r"(?:^|/)src/(\w+)[./]", file)):
        return f"cedargate::{found[1]}"
    if re.match(MEMORY, function):
        return "memcpy and the like"
    if re.match(r"aws_lc|ring_core", function):
        return "crypto"
    if re.search(CLOCK, function):
        return "clocks"
    # The first crate that the name tells: that of `drop_in_place<tokio::…>` is tokio.
    for crate, inner in re.findall(r"(?<![:\w])([a-z_]\w*)::(\w*)", function):
        if crate == "cedargate":
            return f"cedargate::{inner}"
        if crate not in STANDARD:
            return of_crate(crate)
    if re.search(HASH, function):
        return "hash maps"
    return OTHER_STD


def of_crate(crate):
    return next((name for name, pattern in CRATES if re.fullmatch(pattern, crate)), OTHER)


def threads(folder, stem):
    """Those of a program that has ended, by their numbers."""
    return [Thread(path) for path in sorted(folder.glob(f"{stem}-[0-9]*"))]
