//! Chunks, which each side counts for itself (rows 32 and 34).
//!
//! A head is forwarded before its body is known, so what counts is that the body never ends for the back end, and that
//! nothing after it is taken for a request.

use super::World;
use super::origin::{OK, Origin, Reads, SECRET, origin};
use super::wire::{Slow, post, raw, statuses};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// Each body is refused with 400, and the back end has got none to its end.
async fn refuses(world: &World, back: &Origin, bodies: impl IntoIterator<Item = String>) {
    let mut faults = Vec::new();
    for body in bodies {
        let before = back.connections().len();
        let answer = Slow::open(world.app.gateway).await.say(&post("/to/x", CHUNKED, &format!("{body}{SECRET}"))).await;
        let shown = body[..body.len().min(60)].to_owned();
        if statuses(&answer) != [400] {
            faults.push((shown, statuses(&answer)));
            continue;
        }
        for bytes in back.connections().split_off(before) {
            assert!(!bytes.contains("/admin") && !bytes.ends_with("0\r\n\r\n"), "{shown:?}: {bytes}");
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

async fn passes(world: &World, back: &Origin, body: &str) {
    let answer = world.send(&raw(&post("/to/x", CHUNKED, body))).await;
    assert_eq!(answer.status, 200, "{body:?}: {}", answer.text);
    assert!(back.requests().iter().any(|request| request.body.contains("abcde")), "{body:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_32_sizes_of_chunks_are_plain_hexadecimal_numbers() {
    let world = World::start().await;
    let back = origin(&world, Reads::Bodies, OK).await;
    let sizes = [
        "00000000000000005",
        "10000000000000005",
        "FFFFFFFFFFFFFFFFF",
        "+5",
        "-5",
        "0x5",
        "5h",
        "5_",
        "g",
        "",
        " 5",
        "\t5",
        "5 ",
        "5\t",
        "5,5",
        "5.0",
        "\u{665}",
        "5\0",
    ];
    refuses(&world, &back, sizes.map(|size| format!("{size}\r\nabcde\r\n0\r\n\r\n"))).await;
    for size in ["5", "05", "0000000000000005"] {
        passes(&world, &back, &format!("{size}\r\nabcde\r\n0\r\n\r\n")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_chunks_end_in_one_way() {
    let world = World::start().await;
    let back = origin(&world, Reads::Bodies, OK).await;
    let long = format!("5;{}\r\nabcde\r\n0\r\n\r\n", "a".repeat(20_000));
    let bodies = [
        // Bare line feeds and carriage returns.
        "5\nabcde\r\n0\r\n\r\n",
        "5\rabcde\r\n0\r\n\r\n",
        "5\r\nabcde\n0\r\n\r\n",
        "5\r\nabcde\r0\r\n\r\n",
        "5\r\nabcde\r\n0\n\n",
        "5\r\nabcde\r\n0\r\n\n",
        "5\r\nabcde\r\n0\n\r\n",
        "5\r\r\nabcde\r\n0\r\n\r\n",
        // More or less than the size says.
        "5\r\nabcdef\r\n0\r\n\r\n",
        "5\r\nabcde0\r\n\r\n",
        "4\r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcde\r\n\r\n0\r\n\r\n",
        // Extensions that hide an end of line, or have none.
        "5;a\nabcde\r\n0\r\n\r\n",
        "5;a\rb\r\nabcde\r\n0\r\n\r\n",
        "5;a=\"\nabcde\r\n0\r\n\r\n",
        "5;\n0\r\n\r\nabcde\r\n0\r\n\r\n",
        "5;\0\r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcde\r\n0;\n\r\n",
        &long,
    ];
    refuses(&world, &back, bodies.map(str::to_owned)).await;
    passes(&world, &back, "2\r\nxy\r\n5\r\nabcde\r\n0\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_trailers_are_fields() {
    let world = World::start().await;
    let back = origin(&world, Reads::Bodies, OK).await;
    let many = "X: y\r\n".repeat(2_000);
    let trailers = [
        "X: y\n",
        "X: y\rz\r\n",
        "X: y\r\n z\r\n",
        " X: y\r\n",
        "X : y\r\n",
        ": y\r\n",
        "X\r\n",
        "X: \0\r\n",
        "GET /admin/x HTTP/1.1\r\n",
        &many,
    ];
    refuses(&world, &back, trailers.map(|trailers| format!("5\r\nabcde\r\n0\r\n{trailers}\r\n"))).await;
    passes(&world, &back, "5\r\nabcde\r\n0\r\n\r\n").await;
}
