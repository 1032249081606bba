// The clock: the place in training. Kernels read it from device memory, so that every step has the
// same launches:
//   step    number of steps since training began; a key of the dropout masks
//   seed    another key of them
//   start   place in the epoch's order at which the batch begins
//   row     row of the table of coefficients
//   halted  1 once the sum of the losses is not finite; from then on kernels change no parameter,
//           moment, running statistic or sum

extern "C" __global__ void clock_set(Clock* clock, integer step, integer seed, integer start,
                                     integer halted)
{
    *clock = Clock{step, seed, start, 0, halted};
}

// Ends a step: moves the clock on by one batch. One thread.
__device__ void clock_tick(Clock* clock, const double* tally, integer batch_size)
{
    clock->step += 1;
    clock->start += batch_size;
    clock->row += 1;
    if (!isfinite(tally[abi::LOSS_SUM]))
        clock->halted = 1;
}
