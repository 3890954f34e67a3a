"use strict";

// The search runs in a worker made from text, which the page's policy rules out.
const options = { disableSearch: true, nativeScrollbars: true };

Redoc.init("/openapi.json", options, document.getElementById("redoc"));
