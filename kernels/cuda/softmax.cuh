// Softmax and its derivative, one row by LANES threads.

// y = softmax(z); y_o is not z_o.
__device__ void softmax_row(cell* y_o, const cell* z_o, integer outputs)
{
    real highest = lowest();
    for (integer o = lane(); o < outputs; o += LANES)
        highest = larger(highest, z_o[o]);
    highest = warp_max(highest);
    real sum = 0;
    for (integer o = lane(); o < outputs; o += LANES) {
        y_o[o] = exp(z_o[o] - highest);
        sum += y_o[o];
    }
    sum = warp_sum(sum);
    for (integer o = lane(); o < outputs; o += LANES)
        y_o[o] = y_o[o] / sum;
}

// dz = y (dy - sum(dy y)) in place: d_o holds dy, then dz.
__device__ void softmax_backward_row(cell* d_o, const cell* y_o, integer outputs)
{
    real sum = 0;
    for (integer o = lane(); o < outputs; o += LANES)
        sum += d_o[o] * y_o[o];
    sum = warp_sum(sum);
    for (integer o = lane(); o < outputs; o += LANES)
        d_o[o] = (d_o[o] - sum) * y_o[o];
}
