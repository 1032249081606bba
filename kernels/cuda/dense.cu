// What surrounds the matrix products of a dense layer: bias, activation and their derivatives.

// z += b, then y = f(z). Shapes (rows, outputs); y_bo may be z_bo. A thread for each element.
extern "C" __global__ void dense_forward_epilogue(real* y_bo, real* z_bo, const real* b_o,
                                                  integer activation, integer rows,
                                                  integer outputs)
{
    for (integer b = first_row(); b < rows; b += row_stride())
        for (integer o = first_column(); o < outputs; o += column_stride()) {
            const real z = z_bo[b * outputs + o] + b_o[o];
            z_bo[b * outputs + o] = z;
            y_bo[b * outputs + o] = activation_forward(activation, z);
        }
}

// z += b, then y = softmax(z), by rows; y_bo is not z_bo. A warp for each row.
extern "C" __global__ void dense_forward_softmax(real* y_bo, real* z_bo, const real* b_o,
                                                 integer rows, integer outputs)
{
    for (integer b = first_row(); b < rows; b += row_stride()) {
        real* y_o = y_bo + b * outputs;
        real* z_o = z_bo + b * outputs;
        real highest = lowest();
        for (integer o = threadIdx.x; o < outputs; o += WARP) {
            z_o[o] += b_o[o];
            highest = larger(highest, z_o[o]);
        }
        highest = warp_max(highest);
        real sum = 0;
        for (integer o = threadIdx.x; o < outputs; o += WARP) {
            y_o[o] = exp(z_o[o] - highest);
            sum += y_o[o];
        }
        sum = warp_sum(sum);
        for (integer o = threadIdx.x; o < outputs; o += WARP)
            y_o[o] /= sum;
    }
}

// dz = y (dy - sum(dy y)), by rows and in place: d_bo holds dy, then dz. A warp for each row.
extern "C" __global__ void softmax_backward(real* d_bo, const real* y_bo, integer rows,
                                            integer outputs)
{
    for (integer b = first_row(); b < rows; b += row_stride()) {
        real* d_o = d_bo + b * outputs;
        const real* y_o = y_bo + b * outputs;
        real sum = 0;
        for (integer o = threadIdx.x; o < outputs; o += WARP)
            sum += d_o[o] * y_o[o];
        sum = warp_sum(sum);
        for (integer o = threadIdx.x; o < outputs; o += WARP)
            d_o[o] = (d_o[o] - sum) * y_o[o];
    }
}

// dz = dy f'(z) in place, and db = the column sums of dz. A block for every COLUMN_TILE columns, so
// that the sums need neither atomics nor a second pass.
extern "C" __global__ void dense_backward_epilogue(real* d_bo, real* db_o, const real* y_bo,
                                                   const real* z_bo, integer activation,
                                                   integer rows, integer outputs)
{
    __shared__ real scratch[BLOCK];
    for (integer tile = 0; tile < outputs; tile += column_stride()) {
        const integer o = tile + first_column();
        real sum = 0;
        if (o < outputs)
            for (integer b = threadIdx.y; b < rows; b += blockDim.y) {
                const integer at = b * outputs + o;
                const real dz = activation_backward(activation, d_bo[at], y_bo[at], z_bo[at]);
                d_bo[at] = dz;
                sum += dz;
            }
        sum = column_sum(scratch, sum);
        if (o < outputs && threadIdx.y == 0)
            db_o[o] = sum;
    }
}
