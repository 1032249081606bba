"""CPU kernels in Numba: compiled on first use, cached on disk, one specialisation for each dtype.

=================  ==========================================================================
``jit``            the compiler flags, and a disk cache that never fails
``memory``         arrays at addresses; the frame: everything a compiled step works on
``microkernel``    a register tile of a matrix product, as LLVM vector code
``gemm``           matrix products of any size from register tiles
``elementary``     exp, expm1, log1p and tanh that loops can be vectorised over
``sums``           sums along a row
``random``         Philox and the shuffle
``activations``    forward and backward, by code
``losses``         the loss head: output activation, loss, score, gradient
``norm``           batch and layer normalisation
``optimizers``     updates, one pass each
``network``        forward, backward and update of a whole network, for a range of rows
``epoch``          training steps without Python in between, run by one thread or several
=================  ==========================================================================

Names: B rows of a batch, I inputs, O outputs; rows of a matrix lie one after the other, so element
(i, j) of a (B, O) array is ``[i * O + j]``. Outputs come first, then inputs, then scalars.
"""
