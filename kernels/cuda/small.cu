// Evaluates small networks of dense layers, many of them at once, and ends their epochs: the
// partners of `tiny_train`, which is compiled for each network. These are not, so that an
// evaluation alone costs no compilation.

// z = x w + b and y = f(z) of one row, by a warp; a softmax is left to the caller.
template <typename Number>
__device__ void dense_row(cell* y_o, cell* z_o, const Number* x_i, const real* w_io,
                          const real* b_o, const Dense& layer)
{
    for (integer o = threadIdx.x; o < layer.outputs; o += WARP) {
        real sum = 0;
        for (integer i = 0; i < layer.inputs; ++i)
            sum += real(x_i[i]) * w_io[i * layer.outputs + o];
        const real z = sum + b_o[o];
        z_o[o] = z;
        if (layer.activation != abi::SOFTMAX)
            y_o[o] = activation_forward(layer.activation, z);
    }
    __syncwarp();
}

// Computes all layers, and the weighted loss and score of each row held out, for every member that
// is not over. Member m has rows m * rows and on of the workspace, of loss_b and score_b. A warp
// for each of the `total` rows.
extern "C" __global__ void members_evaluate(const Member* members, const Dense* dense_l,
                                            cell* workspace, real* loss_b, real* score_b,
                                            integer loss, integer layers, integer rows,
                                            integer targets, integer total)
{
    for (integer b = first_row(); b < total; b += row_stride()) {
        const Member& me = members[b / rows];
        const integer n = b % rows;
        if (me.flags && me.flags[OVER] != 0)
            continue;
        cell* y_o = nullptr;
        cell* z_o = nullptr;
        for (integer l = 0; l < layers; ++l) {
            const Dense& layer = dense_l[l];
            const cell* below = y_o;
            y_o = workspace + layer.y + b * layer.outputs;
            z_o = workspace + layer.z + b * layer.outputs;
            const real* w_io = me.w_p + layer.weight;
            const real* b_o = me.w_p + layer.bias;
            if (l == 0)
                dense_row(y_o, z_o, me.held_x_ni + n * layer.inputs, w_io, b_o, layer);
            else
                dense_row(y_o, z_o, below, w_io, b_o, layer);
        }
        const Dense& last = dense_l[layers - 1];
        if (last.activation == abi::SOFTMAX)
            softmax_row(y_o, z_o, last.outputs);
        Row r;
        r.d_o = nullptr;
        r.y_o = y_o;
        r.z_o = z_o;
        r.target_t = me.held_target_nt ? me.held_target_nt + n * targets : nullptr;
        r.label = me.held_label_n ? me.held_label_n[n] : -1;
        r.outputs = last.outputs;
        r.targets = targets;
        r.constants = me.loss_constants;
        r.weight = me.held_weight_n ? me.held_weight_n[n] : real(1);
        r.share = 1;
        const real value = row_loss(loss, r);
        const real points = score(loss, r);
        if (threadIdx.x == 0) {
            loss_b[b] = value * r.weight;
            score_b[b] = points * r.weight;
        }
    }
}

// Counts an epoch as `Patience` does; returns whether it is the best so far.
__device__ bool watch(const Member& me, const double* tally, integer epoch)
{
    double* m = me.monitor;
    const double total = tally[integer(m[abi::COLUMN])], weight = tally[abi::WEIGHT_SUM];
    const double value = m[abi::SIGN] * (weight != 0 ? total / weight : 0);
    const bool improved = value < m[abi::BEST] - m[abi::MIN_DELTA];
    if (improved) {
        m[abi::BEST] = value;
        m[abi::BEST_EPOCH] = double(me.epoch + epoch + 1);
        m[abi::WAITED] = 0;
    } else {
        m[abi::WAITED] += 1;
    }
    if (m[abi::WAITED] >= m[abi::PATIENCE])
        me.flags[OVER] = 1;
    return improved;
}

// Ends the epoch of each member that is not over: sums what `members_evaluate` has written for
// `rows` rows (0: none are held out), in the order of `tally_add`, watches, and keeps the best
// parameters. A block for each of `count` members.
extern "C" __global__ void members_end_epoch(const Member* members, const real* loss_b,
                                             const real* score_b, integer epoch, integer rows,
                                             integer size, integer count)
{
    __shared__ double scratch[BLOCK];
    __shared__ int best;
    for (integer m = blockIdx.y; m < count; m += gridDim.y) {
        const Member& me = members[m];
        if (me.flags[OVER] != 0)
            continue;
        double loss = 0, points = 0, weight = 0;
        for (integer b = threadIdx.y; b < rows; b += blockDim.y) {
            loss += double(loss_b[m * rows + b]);
            points += double(score_b[m * rows + b]);
            weight += double(me.held_weight_n ? me.held_weight_n[b] : real(1));
        }
        loss = column_sum(scratch, loss);
        points = column_sum(scratch, points);
        weight = column_sum(scratch, weight);
        if (threadIdx.y == 0) {
            double* evaluated = me.evaluated_e + epoch * abi::TALLY;
            if (rows > 0) {
                evaluated[abi::LOSS_SUM] = loss;
                evaluated[abi::SCORE_SUM] = points;
                evaluated[abi::WEIGHT_SUM] = weight;
                evaluated[abi::STEPS] = isfinite(loss) ? 1 : 0;
            }
            const bool held_out = me.monitor && me.monitor[abi::HELD_OUT] != 0;
            const double* tally = held_out ? evaluated : me.trained_e + epoch * abi::TALLY;
            best = me.monitor && watch(me, tally, epoch) && me.best_p;
        }
        __syncthreads();
        if (best)
            for (integer p = threadIdx.y; p < size; p += blockDim.y)
                me.best_p[p] = me.w_p[p];
        __syncthreads();  // The next member writes `best` and its flags.
    }
}
