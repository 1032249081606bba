"""CPU kernels in Numba: compiled on first use, cached on disk, one specialisation for each dtype.

=====================  ======================================================================
``native``             machine code of kernels: found on disk or compiled, loaded without Numba
``prepared``           LLVM code of kernels that came with the package
``back_end``           from LLVM code to machine code, and to what Python can call
``machine``            the processor that kernels are compiled for
``interface``          what an engine and a compiled step share: the frame, the tasks
``jit``                the compiler flags, what is compiled as part of what, and LLVM code
``vectors``            the code of vectors: loads, stores, multiply-adds
``lanes``              vectors as values in kernels: arithmetic, comparisons, loads and stores
``elementary``         exp, expm1, log, log1p, tanh and the normal distribution, of a vector
``frame``              arrays at addresses, and a barrier
``microkernel``        a register tile of a matrix product
``dots``               products with few columns
``transpose``          the transpose of a tile
``gemm``               matrix products and transposes of any size, from the three above
``blocks``             large matrix products from packed copies; compiled where a network needs it
``strips``             what dense layers do with these, and with the parts of weights that are not 0
``pairs``              words of two bfloat16: their rounding, layouts and products
``tiles``              products of them by the tile registers of AMX
``pair_products``      matrix products of them; compiled where a network asks for bfloat16
``pair_layers``        what dense layers do with these
``row_lanes``          blocks that hold one row of the batch in each lane
``sums``               sums along a row
``random``             Philox and the shuffle
``activations``        forward and backward, by code
``losses``             loss, score and gradient, by code
``loss_head``          the losses of a batch: targets, weights, sums
``norm``               batch and layer normalisation
``residual``           the end of a residual connection
``optimizers``         updates, in one pass each
``tiny``               the gradients of a batch for networks of a few dozen parameters
``network``            forward, backward and update of a whole network, for a range of rows
``epoch``              many training steps in one call, on one thread or several
``members``            training of many tiny networks at once, with one of them in each lane
``member_rows``        their rows: losses and gradients
``member_parameters``  their parameters: gradients and updates
=====================  ======================================================================

Names: B rows of a batch, I inputs, O outputs; rows of a matrix lie one after the other, so element
(i, j) of a (B, O) array is ``[i * O + j]``. Outputs come first, then inputs, then scalars.
"""
