"""What an advantage code really estimates: a function is called in a world that is known exactly.

`world` lays outputs out as batches, `calls` loads the function and calls it, `signatures` says which arguments it gets
and what its result weighs, `gradients` sums over all outputs there are, `objectives` knows what that could be the
gradient of, `probes` moves what must not matter, `structure` finds which action sees which, `sentences` says so, and
`verdict` does it all.
"""
