// Batch and layer normalisation: y = f(gamma xhat + beta), xhat = (x - mean) scale, where scale is
// 1 / sqrt(variance + epsilon). All arrays are (B, O) unless a suffix says otherwise.

// Writes the mean and scale of each column: in training those of the batch, which also update the
// running statistics; else the running ones. A block for every COLUMN_TILE columns.
extern "C" __global__ void batch_norm_statistics(real* mean_o, real* scale_o,
                                                 real* running_mean_o, real* running_var_o,
                                                 const cell* x_bo, const Clock* clock,
                                                 double momentum, double epsilon,
                                                 integer training, integer rows, integer outputs)
{
    __shared__ real scratch[BLOCK];
    for (integer tile = 0; tile < outputs; tile += column_stride()) {
        const integer o = tile + first_column();
        // The statistics, from two passes over the column or from the running ones.
        real mean = 0, variance = 0;
        if (training) {
            real sum = 0;
            if (o < outputs)
                for (integer b = threadIdx.y; b < rows; b += blockDim.y)
                    sum += x_bo[b * outputs + o];
            mean = column_sum(scratch, sum) / real(rows);
            sum = 0;
            if (o < outputs)
                for (integer b = threadIdx.y; b < rows; b += blockDim.y) {
                    const real centred = x_bo[b * outputs + o] - mean;
                    sum += centred * centred;
                }
            variance = column_sum(scratch, sum) / real(rows);
        } else if (o < outputs) {
            mean = running_mean_o[o];
            variance = running_var_o[o];
        }
        // One thread of each column writes them.
        if (o < outputs && threadIdx.y == 0) {
            mean_o[o] = mean;
            scale_o[o] = 1 / sqrt(variance + real(epsilon));
            if (training && !clock->halted) {
                const double unbiased = double(rows) / double(rows > 1 ? rows - 1 : 1);
                const real keep = real(1 - momentum);
                running_mean_o[o] = keep * running_mean_o[o] + real(momentum) * mean;
                running_var_o[o] = keep * running_var_o[o] + real(momentum * unbiased) * variance;
            }
        }
    }
}

// Writes xhat, z = gamma xhat + beta and y = f(z); y may be z. A thread for each element.
extern "C" __global__ void batch_norm_forward(cell* y_bo, cell* z_bo, cell* xhat_bo,
                                              const cell* x_bo, const real* mean_o,
                                              const real* scale_o, const real* gamma_o,
                                              const real* beta_o, integer activation,
                                              integer rows, integer outputs)
{
    for (integer b = first_row(); b < rows; b += row_stride())
        for (integer o = first_column(); o < outputs; o += column_stride()) {
            const integer at = b * outputs + o;
            const real xhat = (x_bo[at] - mean_o[o]) * scale_o[o];
            const real z = xhat * gamma_o[o] + beta_o[o];
            xhat_bo[at] = xhat;
            z_bo[at] = z;
            y_bo[at] = activation_forward(activation, z);
        }
}

// The same by rows, with a scale in scale_b for each. A warp for each row.
extern "C" __global__ void layer_norm_forward(cell* y_bo, cell* z_bo, cell* xhat_bo,
                                              real* scale_b, const cell* x_bo,
                                              const real* gamma_o, const real* beta_o,
                                              integer activation, double epsilon, integer rows,
                                              integer outputs)
{
    for (integer b = first_row(); b < rows; b += row_stride()) {
        const integer start = b * outputs;
        real sum = 0;
        for (integer o = threadIdx.x; o < outputs; o += WARP)
            sum += x_bo[start + o];
        const real mean = warp_sum(sum) / real(outputs);
        sum = 0;
        for (integer o = threadIdx.x; o < outputs; o += WARP) {
            const real centred = x_bo[start + o] - mean;
            sum += centred * centred;
        }
        const real scale = 1 / sqrt(warp_sum(sum) / real(outputs) + real(epsilon));
        if (threadIdx.x == 0)
            scale_b[b] = scale;
        for (integer o = threadIdx.x; o < outputs; o += WARP) {
            const real xhat = (x_bo[start + o] - mean) * scale;
            const real z = xhat * gamma_o[o] + beta_o[o];
            xhat_bo[start + o] = xhat;
            z_bo[start + o] = z;
            y_bo[start + o] = activation_forward(activation, z);
        }
    }
}

// dz = dy f'(z) in place, dgamma = the column sums of dz xhat, dbeta = those of dz. A block for
// every COLUMN_TILE columns.
extern "C" __global__ void norm_backward_epilogue(cell* d_bo, real* dgamma_o, real* dbeta_o,
                                                  const cell* y_bo, const cell* z_bo,
                                                  const cell* xhat_bo, integer activation,
                                                  integer rows, integer outputs)
{
    __shared__ real scratch[BLOCK];
    for (integer tile = 0; tile < outputs; tile += column_stride()) {
        const integer o = tile + first_column();
        real dgamma = 0, dbeta = 0;
        if (o < outputs)
            for (integer b = threadIdx.y; b < rows; b += blockDim.y) {
                const integer at = b * outputs + o;
                const real dz = activation_backward(activation, d_bo[at], y_bo[at], z_bo[at]);
                d_bo[at] = dz;
                dgamma += dz * xhat_bo[at];
                dbeta += dz;
            }
        dgamma = column_sum(scratch, dgamma);
        dbeta = column_sum(scratch, dbeta);
        if (o < outputs && threadIdx.y == 0) {
            dgamma_o[o] = dgamma;
            dbeta_o[o] = dbeta;
        }
    }
}

// dx = scale (g - mean(g) - xhat mean(g xhat)) with g = gamma dz; the means run over the batch, so
// they are gamma dbeta / B and gamma dgamma / B. Outside training the statistics are constants, and
// the means vanish. A thread for each element.
extern "C" __global__ void batch_norm_backward(cell* dx_bo, const cell* d_bo, const cell* xhat_bo,
                                               const real* scale_o, const real* gamma_o,
                                               const real* dgamma_o, const real* dbeta_o,
                                               integer training, integer rows, integer outputs)
{
    for (integer b = first_row(); b < rows; b += row_stride())
        for (integer o = first_column(); o < outputs; o += column_stride()) {
            const integer at = b * outputs + o;
            real d = d_bo[at];
            if (training)
                d = d - dbeta_o[o] / real(rows) - xhat_bo[at] * (dgamma_o[o] / real(rows));
            dx_bo[at] = d * gamma_o[o] * scale_o[o];
        }
}

// The same with means over the units of a row. A warp for each row.
extern "C" __global__ void layer_norm_backward(cell* dx_bo, const cell* d_bo, const cell* xhat_bo,
                                               const real* scale_b, const real* gamma_o,
                                               integer rows, integer outputs)
{
    for (integer b = first_row(); b < rows; b += row_stride()) {
        const integer start = b * outputs;
        real sum = 0, sum_with_xhat = 0;
        for (integer o = threadIdx.x; o < outputs; o += WARP) {
            const real g = gamma_o[o] * d_bo[start + o];
            sum += g;
            sum_with_xhat += g * xhat_bo[start + o];
        }
        const real mean = warp_sum(sum) / real(outputs);
        const real mean_with_xhat = warp_sum(sum_with_xhat) / real(outputs);
        for (integer o = threadIdx.x; o < outputs; o += WARP) {
            const real g = gamma_o[o] * d_bo[start + o];
            dx_bo[start + o] = scale_b[b] * (g - mean - xhat_bo[start + o] * mean_with_xhat);
        }
    }
}
