// Bias, activation and their derivatives around the matrix products of a dense layer, where the
// product's own epilogue does not compute them.

// z += b, then y = f(z). Shapes (rows, outputs); y_bo may be z_bo. A thread for each element.
extern "C" __global__ void dense_forward_epilogue(cell* y_bo, cell* z_bo, const real* b_o,
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

// z += b, then y = softmax(z), by rows; y_bo is not z_bo, and b_o is null where z includes it. A
// warp for each row.
extern "C" __global__ void dense_forward_softmax(cell* y_bo, cell* z_bo, const real* b_o,
                                                 integer rows, integer outputs)
{
    for (integer b = first_row(); b < rows; b += row_stride()) {
        cell* z_o = z_bo + b * outputs;
        if (b_o)
            for (integer o = threadIdx.x; o < outputs; o += WARP)
                z_o[o] = z_o[o] + b_o[o];
        softmax_row(y_bo + b * outputs, z_o, outputs);
    }
}

// dz = y (dy - sum(dy y)), by rows and in place: d_bo holds dy, then dz. A warp for each row.
extern "C" __global__ void softmax_backward(cell* d_bo, const cell* y_bo, integer rows,
                                            integer outputs)
{
    for (integer b = first_row(); b < rows; b += row_stride())
        softmax_backward_row(d_bo + b * outputs, y_bo + b * outputs, outputs);
}

// dz = dy f'(z) in place, and db = the column sums of dz. A block for every COLUMN_TILE columns, so
// that the sums need neither atomics nor a second pass.
extern "C" __global__ void dense_backward_epilogue(cell* d_bo, real* db_o, const cell* y_bo,
                                                   const cell* z_bo, integer activation,
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
