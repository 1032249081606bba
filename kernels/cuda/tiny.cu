// Trains tiny networks, each in one block, for many steps in one launch: parameters, moments,
// activations and two batches are in shared memory.
//
// The text is compiled for the layers of a network, a loss, an optimizer and a capacity: BATCH is
// the most rows that a batch can have. The constants of namespace `tiny`, a struct Layer<L> for
// every layer L, and offsets into shared memory (in numbers) are defined before it. No result
// depends on the capacity or the number of threads. Rows of matrices in shared memory are an odd
// number of places apart, so that threads on one column access different banks.

using tiny::Layer;

constexpr int LAST = tiny::LAYERS - 1;

#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(Number, name)                                                               \
    extern __shared__ double shared_memory[];                                                      \
    Number* name = reinterpret_cast<Number*>(shared_memory)
#endif

// store(r, c, the sum over k of a(r, k) b(k, c)) for all r < rows and c < columns. Each thread
// works on tiles of TILE x TILE elements that lie far apart, so that neighbouring threads read
// neighbouring columns.
template <int TILE, typename A, typename B, typename Store>
__device__ void product_tiled(int rows, int columns, int inner, A a, B b, Store store)
{
    const int down = (rows + TILE - 1) / TILE, across = (columns + TILE - 1) / TILE;
    for (int tile = thread(); tile < down * across; tile += tiny::THREADS) {
        int r[TILE], c[TILE];
#pragma unroll
        for (int i = 0; i < TILE; ++i) {
            // Outside the product, the last row or column is computed again, and not stored.
            r[i] = tile / across + i * down < rows ? tile / across + i * down : rows - 1;
            c[i] = tile % across + i * across < columns ? tile % across + i * across : columns - 1;
        }
        real sum[TILE][TILE] = {};
#pragma unroll 4
        for (int k = 0; k < inner; ++k) {
            real left[TILE], right[TILE];
#pragma unroll
            for (int i = 0; i < TILE; ++i) {
                left[i] = a(r[i], k);
                right[i] = b(k, c[i]);
            }
#pragma unroll
            for (int i = 0; i < TILE; ++i)
#pragma unroll
                for (int j = 0; j < TILE; ++j)
                    sum[i][j] += left[i] * right[j];
        }
#pragma unroll
        for (int i = 0; i < TILE; ++i)
#pragma unroll
            for (int j = 0; j < TILE; ++j)
                if (tile / across + i * down < rows && tile % across + j * across < columns)
                    store(r[i], c[j], sum[i][j]);
    }
}

// The same, with larger tiles where there is enough work for all threads: SIZE is the number of
// elements of a full batch.
template <int SIZE, typename A, typename B, typename Store>
__device__ void product(int rows, int columns, int inner, A a, B b, Store store)
{
    constexpr int TILE = SIZE <= 2 * tiny::THREADS ? 1 : SIZE <= 8 * tiny::THREADS ? 2 : 4;
    product_tiled<TILE>(rows, columns, inner, a, b, store);
}

// Layer L's input, and how far apart its rows are.
template <int L>
__device__ const real* input_of(const real* s, const real* records)
{
    if constexpr (L == 0)
        return records;
    else
        return s + Layer<L - 1>::Y;
}
template <int L>
constexpr int INPUT_WIDTH = L == 0 ? odd(RECORD) : odd(Layer<L>::I);

// z = x w + b and y = f(z), layer by layer; a softmax is left to the head.
template <int L>
__device__ void forward(real* s, const real* records, int rows)
{
    using This = Layer<L>;
    if constexpr (L > 0)
        forward<L - 1>(s, records, rows);
    const real* x = input_of<L>(s, records);
    const real* w = s + This::W;
    product<tiny::BATCH * This::O>(
        rows, This::O, This::I,
        [&](int r, int k) { return x[r * INPUT_WIDTH<L> + k]; },
        [&](int k, int c) { return w[k * odd(This::O) + c]; },
        [&](int r, int c, real sum) {
            const int at = r * odd(This::O) + c;
            const real z = sum + s[This::B + c];
            if (This::Z != This::Y)
                s[This::Z + at] = z;
            if (This::ACTIVATION != abi::SOFTMAX)
                s[This::Y + at] = activation_forward(This::ACTIVATION, z);
        });
    __syncthreads();
}

// Writes the losses and scores of the rows, and the gradient with respect to the last layer's z.
__device__ void head(real* s, const real* records, const double* constants, double weights,
                     int rows)
{
    using This = Layer<LAST>;
    const int first = LANES == 1 ? thread() : int(threadIdx.y);
    for (int b = first; b < rows; b += LANES == 1 ? tiny::THREADS : tiny::THREADS / WARP) {
        // What row_loss takes: the row's outputs, targets and weight.
        const real* record = records + b * odd(RECORD);
        Row r;
        r.d_o = s + This::D + b * odd(This::O);
        r.z_o = s + This::Z + b * odd(This::O);
        real* y_o = s + This::Y + b * odd(This::O);
        if (This::ACTIVATION == abi::SOFTMAX)
            softmax_row(y_o, r.z_o, This::O);
        r.y_o = y_o;
        r.target_t = tiny::TARGETS ? record + tiny::INPUTS : nullptr;
        r.label = tiny::LABELLED ? integer(record[tiny::INPUTS + tiny::TARGETS]) : -1;
        r.outputs = This::O;
        r.targets = tiny::TARGETS;
        r.constants = constants;
        r.weight = tiny::WEIGHTED ? record[RECORD - 1] : real(1);
        r.share = weights > 0 ? real(1 / weights) : real(0);
        const real value = row_loss(tiny::LOSS, r);
        const real points = score(tiny::LOSS, r);
        // From the gradient of y to that of z, unless the loss has given it.
        if (!tiny::FUSED) {
            if (This::ACTIVATION == abi::SOFTMAX) {
                softmax_backward_row(r.d_o, r.y_o, This::O);
            } else {
                for (integer o = lane(); o < This::O; o += LANES)
                    r.d_o[o] = activation_backward(This::ACTIVATION, r.d_o[o], r.y_o[o], r.z_o[o]);
            }
        }
        if (lane() == 0) {
            s[tiny::ROW_LOSS + b] = value * r.weight;
            s[tiny::ROW_SCORE + b] = points * r.weight;
        }
    }
    __syncthreads();
}

// dx = dz w.T, times the derivative of the layer below, from layer L down.
template <int L>
__device__ void backward(real* s, int rows)
{
    if constexpr (L > 0) {
        using This = Layer<L>;
        using Below = Layer<L - 1>;
        const real* w = s + This::W;
        const real* d = s + This::D;
        product<tiny::BATCH * This::I>(
            rows, This::I, This::O,
            [&](int r, int k) { return d[r * odd(This::O) + k]; },
            [&](int k, int c) { return w[c * odd(This::O) + k]; },
            [&](int r, int c, real sum) {
                const int at = r * odd(This::I) + c;
                const real y = s[Below::Y + at], z = s[Below::Z + at];
                s[Below::D + at] = activation_backward(Below::ACTIVATION, sum, y, z);
            });
        __syncthreads();
        backward<L - 1>(s, rows);
    }
}

// Calls use(place in shared memory, number, gradient) for all parameters, from layer L down.
template <int L, typename Use>
__device__ void each_gradient(real* s, const real* records, int rows, Use use)
{
    using This = Layer<L>;
    const real* x = input_of<L>(s, records);
    const real* d = s + This::D;
    product<This::I * This::O>(
        This::I, This::O, rows,
        [&](int r, int k) { return x[k * INPUT_WIDTH<L> + r]; },
        [&](int k, int c) { return d[k * odd(This::O) + c]; },
        [&](int r, int c, real sum) {
            use(This::W + r * odd(This::O) + c, This::WEIGHT + r * This::O + c, sum);
        });
    // The last threads begin, since the others compute more of the product.
    for (int o = tiny::THREADS - 1 - thread(); o < This::O; o += tiny::THREADS) {
        real sum = 0;
        for (int b = 0; b < rows; ++b)
            sum += d[b * odd(This::O) + o];
        use(This::B + o, This::BIAS + o, sum);
    }
    if constexpr (L > 0)
        each_gradient<L - 1>(s, records, rows, use);
}

// Copies the parameters of layer L and below to shared memory, or back. There, `flags` are told of
// one that is not finite.
template <int L>
__device__ void move_parameters(real* s, real* w_p, bool back, double* flags)
{
    using This = Layer<L>;
    for (int e = thread(); e < This::I * This::O + This::O; e += tiny::THREADS) {
        const bool weight = e < This::I * This::O;
        const int o = e - This::I * This::O;
        const int here = weight ? This::W + e / This::O * odd(This::O) + e % This::O : This::B + o;
        const int there = weight ? This::WEIGHT + e : This::BIAS + o;
        if (!back) {
            s[here] = w_p[there];
            continue;
        }
        w_p[there] = s[here];
        if (!isfinite(s[here]))
            flags[NOT_FINITE] = 1;  // whichever thread writes it last
    }
    if constexpr (L > 0)
        move_parameters<L - 1>(s, w_p, back, flags);
}

// The sum of f(e) over all e < count, in double, in every lane of the warp that calls it.
template <typename F>
__device__ double sum_by_warp(int count, F f)
{
    double sum = 0;
    for (int e = int(threadIdx.x); e < count; e += WARP)
        sum += double(f(e));
    return warp_sum<double, WARP>(sum);
}

// Trains every member, a block each, from step `begin` to before step `end`. Steps count through
// epochs of `batches` batches of `batch` rows; the tables of coefficients begin at step `origin`.
// A member whose loss is not finite is over. One block of (WARP, THREADS / WARP) for each.
extern "C" __global__ void tiny_train(const Member* members, integer batch, integer batches,
                                      integer origin, integer begin, integer end)
{
    DYNAMIC_SHARED(real, s);
    __shared__ int halted;
    __shared__ double batch_weight;
    const Member& me = members[blockIdx.x];
    if (me.flags[OVER] != 0)
        return;
    const Data data = {me.x_ni, me.label_n, me.target_nt, me.weight_n,
                       me.order_n, me.count, int(batch)};
    const double* coefficients = me.coefficients - origin * abi::COEFFICIENTS;
    Step step = make_step(me.constants, coefficients + begin * abi::COEFFICIENTS);
    const double limit = me.constants[abi::CLIP_NORM];

    // Parameters and moments go to shared memory.
    move_parameters<LAST>(s, me.w_p, false, nullptr);
    for (int p = thread(); p < tiny::N_MOMENTS * tiny::SIZE; p += tiny::THREADS)
        s[tiny::MOMENTS + p] = me.moments_sp[p];
    if (thread() == 0)
        halted = 0;

    bool going = true;
    for (integer at = begin; at < end && going;) {
        // An epoch or a part of it: its order, if it begins here, and its first batch.
        const integer epoch = at / batches, start = at % batches * batch;
        const integer stop = (epoch + 1) * batches < end ? (epoch + 1) * batches : end;
        if (me.bits && start == 0) {
            write_order(me, me.epoch + epoch);
            __syncthreads();
        }
        Pipeline next;
        next.look_up(data, start);
        next.fetch(data);
        next.store(s + tiny::RECORDS, data);
        next.look_up(data, start + batch);
        __syncthreads();

        // The steps. Only the first warp has the sums of the epoch.
        double* tally = me.trained_e + epoch * abi::TALLY;
        double loss = tally[abi::LOSS_SUM], points = tally[abi::SCORE_SUM];
        double weight = tally[abi::WEIGHT_SUM], good = tally[abi::STEPS];
        for (int done = 0; at < stop && going; ++at) {
            const real* records = s + tiny::RECORDS + done % 2 * (tiny::BATCH * odd(RECORD));
            const integer first = start + done * batch;
            const int rows = int(me.count - first < batch ? me.count - first : batch);
            // Load the next batches while this one is trained on.
            next.fetch(data);
            next.look_up(data, first + 2 * batch);
            set_coefficients(step, coefficients + at * abi::COEFFICIENTS);

            // Forward, loss, and the gradients of activations.
            if (tiny::WEIGHTED && threadIdx.y == 0) {
                const auto row_weight = [&](int b) { return records[b * odd(RECORD) + RECORD - 1]; };
                const double sum = sum_by_warp(rows, row_weight);
                if (threadIdx.x == 0)
                    batch_weight = sum;
            }
            forward<LAST>(s, records, rows);
            const double weights = tiny::WEIGHTED ? batch_weight : double(rows);
            head(s, records, me.loss_constants, weights, rows);
            if (threadIdx.y == 0) {
                loss += sum_by_warp(rows, [&](int b) { return s[tiny::ROW_LOSS + b]; });
                points += sum_by_warp(rows, [&](int b) { return s[tiny::ROW_SCORE + b]; });
                weight += weights;
                good += isfinite(loss) ? 1 : 0;
            }
            backward<LAST>(s, rows);

            // The gradients of parameters and their update, at once unless the whole norm comes
            // first.
            const auto update = [&](int place, int p, real g) {
                real& m = s[tiny::MOMENTS + p];
                real& v = s[tiny::MOMENTS + (tiny::N_MOMENTS - 1) * tiny::SIZE + p];
                parameter_update(tiny::OPTIMIZER, s[place], g, m, v, p < tiny::N_WEIGHTS,
                                 rate_at(me.rates_p, p), step);
            };
            if constexpr (tiny::CLIPPED) {
                const auto keep = [&](int place, int p, real g) {
                    s[tiny::GRADIENTS + p] = g;
                    reinterpret_cast<int*>(s + tiny::PLACES)[p] = place;
                };
                each_gradient<LAST>(s, records, rows, keep);
                __syncthreads();
                // Every warp computes the norm for itself.
                const double norm = sqrt(sum_by_warp(tiny::SIZE, [&](int p) {
                    return square_that_learns(s[tiny::GRADIENTS + p], rate_at(me.rates_p, p));
                }));
                const real clip = norm > limit ? real(limit / norm) : real(1);
                for (int p = thread(); p < tiny::SIZE; p += tiny::THREADS) {
                    const int place = reinterpret_cast<const int*>(s + tiny::PLACES)[p];
                    update(place, p, s[tiny::GRADIENTS + p] * clip);
                }
            } else {
                each_gradient<LAST>(s, records, rows, update);
            }
            done += 1;
            next.store(s + tiny::RECORDS + done % 2 * (tiny::BATCH * odd(RECORD)), data);
            if (thread() == 0)
                halted = isfinite(loss) ? 0 : 1;
            __syncthreads();
            going = !halted;
        }
        if (thread() == 0) {
            tally[abi::LOSS_SUM] = loss;
            tally[abi::SCORE_SUM] = points;
            tally[abi::WEIGHT_SUM] = weight;
            tally[abi::STEPS] = good;
        }
    }

    // Everything goes back to device memory.
    move_parameters<LAST>(s, me.w_p, true, me.flags);
    for (int p = thread(); p < tiny::N_MOMENTS * tiny::SIZE; p += tiny::THREADS)
        me.moments_sp[p] = s[tiny::MOMENTS + p];
    if (thread() == 0 && !going)
        me.flags[OVER] = 1;
}
