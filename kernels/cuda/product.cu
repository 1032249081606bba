// The matrix product for shapes that cuBLAS has no algorithm for: op(a) @ op(b), where op may
// transpose. It needs no alignment. A block makes a tile of the output, PRODUCT_TILE columns wide,
// and reads the factors tile by tile into shared memory.

// Where a thread begins, and the tiles of both factors: shared, with BLOCK and PRODUCT_TILE *
// PRODUCT_TILE places.
struct ProductTile {
    integer row, column;
    real *left, *right;
};

// Sets out_rc to op(a_ri) @ op(b_ic), with shapes (rows, columns), (rows, inner), (inner, columns).
// An element is one thread's sum, in the order of `inner`, so its bits do not depend on the launch.
template <typename Out>
__device__ void product(Out* out_rc, const cell* a_ri, const cell* b_ic, bool transpose_a,
                        bool transpose_b, integer rows, integer columns, integer inner,
                        ProductTile tile)
{
    const int x = int(threadIdx.x), y = int(threadIdx.y), tall = int(blockDim.y);
    // All threads of a block take the same turns, since they wait for one another.
    for (integer row = tile.row; row - y < rows; row += row_stride())
        for (integer column = tile.column; column - x < columns; column += column_stride()) {
            real sum = 0;
            for (integer first = 0; first < inner; first += PRODUCT_TILE) {
                const integer k = first + x;
                real value = 0;
                if (row < rows && k < inner)
                    value = a_ri[transpose_a ? k * rows + row : row * inner + k];
                tile.left[y * PRODUCT_TILE + x] = value;
                for (int n = y; n < PRODUCT_TILE; n += tall) {
                    const integer i = first + n;
                    value = 0;
                    if (i < inner && column < columns)
                        value = b_ic[transpose_b ? column * inner + i : i * columns + column];
                    tile.right[n * PRODUCT_TILE + x] = value;
                }
                __syncthreads();
                for (int n = 0; n < PRODUCT_TILE; ++n)
                    sum += tile.left[y * PRODUCT_TILE + n] * tile.right[n * PRODUCT_TILE + x];
                __syncthreads();  // The next tiles use the same places.
            }
            if (row < rows && column < columns)
                out_rc[row * columns + column] = sum;
        }
}

// The product as cells: activations and their gradients.
extern "C" __global__ void product_cells(cell* out_rc, const cell* a_ri, const cell* b_ic,
                                         integer transpose_a, integer transpose_b, integer rows,
                                         integer columns, integer inner)
{
    __shared__ real left[BLOCK], right[PRODUCT_TILE * PRODUCT_TILE];
    const ProductTile tile{first_row(), first_column(), left, right};
    product(out_rc, a_ri, b_ic, transpose_a != 0, transpose_b != 0, rows, columns, inner, tile);
}

// The product as numbers: gradients of weights.
extern "C" __global__ void product_numbers(real* out_rc, const cell* a_ri, const cell* b_ic,
                                           integer transpose_a, integer transpose_b, integer rows,
                                           integer columns, integer inner)
{
    __shared__ real left[BLOCK], right[PRODUCT_TILE * PRODUCT_TILE];
    const ProductTile tile{first_row(), first_column(), left, right};
    product(out_rc, a_ri, b_ic, transpose_a != 0, transpose_b != 0, rows, columns, inner, tile);
}
