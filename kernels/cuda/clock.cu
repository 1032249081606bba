// Where training is. Kernels read it from device memory, so that the same launches serve every
// step:
//   step    number of steps since training began: keys the dropout masks
//   seed    keys them too
//   start   place in the epoch's order at which the batch begins
//   row     row of the table of coefficients
//   halted  1 once the sum of the losses is not finite: nothing that lasts is changed from then on

extern "C" __global__ void clock_set(Clock* clock, integer step, integer seed, integer start)
{
    *clock = Clock{step, seed, start, 0, 0};
}

// The step is done: move on by one batch. One thread.
__device__ void clock_tick(Clock* clock, const double* tally, integer batch_size)
{
    clock->step += 1;
    clock->start += batch_size;
    clock->row += 1;
    if (!isfinite(tally[abi::LOSS_SUM]))
        clock->halted = 1;
}
