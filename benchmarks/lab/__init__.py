"""The kernel laboratory: every version of a kernel, shown to be right and then timed.

A kernel is written several times before it is fast. Production keeps the last version; the ones
before it live here, each with the reason why it lost, so that the next idea has something to beat.
"""
