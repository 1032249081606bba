// The order in which an epoch visits the rows, and the gathering of a batch.

// order_n = random.permutation(count, seed, epoch). A thread for each position.
extern "C" __global__ void permutation(unsigned* order_n, integer count, integer bits,
                                       integer seed, integer epoch, integer purpose)
{
    const FeistelKeys keys =
        feistel_keys((unsigned long long)(seed), unsigned(epoch), unsigned(purpose));
    for (integer n = first_column(); n < count; n += column_stride())
        order_n[n] = shuffled(unsigned(n), count, unsigned(bits), keys);
}

// Row b of the result is row order_n[start + clock->start + b] of the data set. A thread for each
// column of x_bi or target_bt. Absent arrays are null. So is the order where rows keep their own,
// and the clock where `start` alone counts.
extern "C" __global__ void gather_rows(cell* x_bi, integer* label_b, real* target_bt,
                                       real* weight_b, const real* x_ni, const integer* label_n,
                                       const real* target_nt, const real* weight_n,
                                       const unsigned* order_n, const Clock* clock, integer start,
                                       integer rows, integer inputs, integer targets)
{
    const integer first = start + (clock ? clock->start : 0);
    const integer columns = inputs > targets ? inputs : targets;
    for (integer b = first_row(); b < rows; b += row_stride()) {
        const integer n = order_n ? integer(order_n[first + b]) : first + b;
        for (integer column = first_column(); column < columns; column += column_stride()) {
            if (column < inputs)
                x_bi[b * inputs + column] = x_ni[n * inputs + column];
            if (column < targets)
                target_bt[b * targets + column] = target_nt[n * targets + column];
            if (column == 0 && label_b)
                label_b[b] = label_n[n];
            if (column == 0 && weight_b)
                weight_b[b] = weight_n[n];
        }
    }
}

// Raises a flag if one of the numbers is not finite. A thread for each.
extern "C" __global__ void find_not_finite(double* flags, const real* numbers, integer elements)
{
    for (integer e = first_column(); e < elements; e += column_stride())
        if (!isfinite(numbers[e]))
            flags[NOT_FINITE] = 1;  // whichever thread writes it last
}

// Rounds numbers to cells. A thread for each.
extern "C" __global__ void narrow(cell* cells, const real* numbers, integer elements)
{
    for (integer e = first_column(); e < elements; e += column_stride())
        cells[e] = numbers[e];
}

// Converts cells to numbers. A thread for each.
extern "C" __global__ void widen(real* numbers, const cell* cells, integer elements)
{
    for (integer e = first_column(); e < elements; e += column_stride())
        numbers[e] = cells[e];
}
