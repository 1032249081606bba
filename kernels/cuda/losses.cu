// The loss head: each row's loss, score and gradient, and the sums over the batch.

// total = the sum of the weights of the batch. One block.
extern "C" __global__ void weight_sum(double* total, const real* weight_b, integer rows)
{
    __shared__ double scratch[BLOCK];
    double sum = 0;
    for (integer b = threadIdx.y; b < rows; b += blockDim.y)
        sum += double(weight_b[b]);
    sum = column_sum(scratch, sum);
    if (threadIdx.y == 0)
        *total = sum;
}

// Writes the gradient d_bo of the batch's mean loss, unless that is null, and each row's weighted
// loss and score.
// Exactly one of label_b and target_bt is given; weight_b and total are null where all weights are
// 1. With `softmax`, y_bo is first set to that of z_bo. A warp for each row.
extern "C" __global__ void loss_head(cell* d_bo, real* loss_b, real* score_b, cell* y_bo,
                                     const cell* z_bo, const integer* label_b,
                                     const real* target_bt, const real* weight_b,
                                     const double* total, const double* constants, integer loss,
                                     integer softmax, integer rows, integer outputs,
                                     integer targets)
{
    const double weights = total ? *total : double(rows);
    for (integer b = first_row(); b < rows; b += row_stride()) {
        if (softmax)
            softmax_row(y_bo + b * outputs, z_bo + b * outputs, outputs);
        Row r;
        r.d_o = d_bo ? d_bo + b * outputs : nullptr;
        r.y_o = y_bo + b * outputs;
        r.z_o = z_bo + b * outputs;
        r.target_t = target_bt ? target_bt + b * targets : nullptr;
        r.label = label_b ? label_b[b] : -1;
        r.outputs = outputs;
        r.targets = targets;
        r.constants = constants;
        r.weight = weight_b ? weight_b[b] : real(1);
        r.share = weights > 0 ? real(1 / weights) : real(0);
        const real value = row_loss(loss, r);
        const real points = score(loss, r);
        if (threadIdx.x == 0) {
            loss_b[b] = value * r.weight;
            score_b[b] = points * r.weight;
        }
    }
}

// Adds the batch's sums to the tally, in double. STEPS counts batches for as long as the sum of the
// losses is finite. `total` is as in loss_head. The clock moves on by `batch_size` rows; 0 leaves
// it. One block.
extern "C" __global__ void tally_add(double* tally, Clock* clock, const real* loss_b,
                                     const real* score_b, const double* total,
                                     integer batch_size, integer rows)
{
    __shared__ double scratch[BLOCK];
    if (clock->halted)
        return;
    double loss = 0, score = 0;
    for (integer b = threadIdx.y; b < rows; b += blockDim.y) {
        loss += double(loss_b[b]);
        score += double(score_b[b]);
    }
    loss = column_sum(scratch, loss);
    score = column_sum(scratch, score);
    if (threadIdx.y == 0) {
        tally[abi::LOSS_SUM] += loss;
        tally[abi::SCORE_SUM] += score;
        tally[abi::WEIGHT_SUM] += total ? *total : double(rows);
        tally[abi::STEPS] += isfinite(tally[abi::LOSS_SUM]) ? 1 : 0;
        if (batch_size > 0)
            clock_tick(clock, tally, batch_size);
    }
}
