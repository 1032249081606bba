"""CPU kernels in Numba: compiled on first use, cached on disk, one specialisation for each dtype.

=================  ==========================================================================
``jit``            the compiler flags, and a disk cache that never fails
``vectors``        what a vector is on this machine, and how its code is emitted
``lanes``          vectors as values in kernels: arithmetic, comparisons, loads and stores
``elementary``     exp, expm1, log, log1p and tanh of a vector
``frame``          arrays at addresses; the frame: everything a compiled step works on
``microkernel``    a register tile of a matrix product
``dots``           products with few columns
``transpose``      the transpose of a tile
``gemm``           matrix products and transposes of any size, from these three
``row_lanes``      rows of a batch turned on their side, one in each lane
``sums``           sums along a row
``random``         Philox and the shuffle
``activations``    forward and backward, by code
``losses``         loss, score and gradient, by code
``loss_head``      the same for a batch: targets, weights, sums
``norm``           batch and layer normalisation
``optimizers``     updates, one pass each
``tiny``           the gradients of a batch where everything fits into vectors
``network``        forward, backward and update of a whole network, for a range of rows
``epoch``          training steps without Python in between, run by one thread or several
=================  ==========================================================================

Names: B rows of a batch, I inputs, O outputs; rows of a matrix lie one after the other, so element
(i, j) of a (B, O) array is ``[i * O + j]``. Outputs come first, then inputs, then scalars.
"""
