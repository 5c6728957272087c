/* The kernel under tuning: what it does is fixed, how is matmul_config.h. */
#include "matmul.h"
#include "matmul_config.h"

#include <string.h>

enum { N = MATMUL_N };

#if MATMUL_ORDER == MATMUL_ORDER_ijk

void matmul(const float *a, const float *b, float *c)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            float sum = 0;
            for (int k = 0; k < N; k++)
                sum += a[i * N + k] * b[k * N + j];
            c[i * N + j] = sum;
        }
}

#elif MATMUL_ORDER == MATMUL_ORDER_ikj

void matmul(const float *restrict a, const float *restrict b, float *restrict c)
{
    memset(c, 0, sizeof(float) * N * N);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++) {
            const float x = a[i * N + k];
            for (int j = 0; j < N; j++)
                c[i * N + j] += x * b[k * N + j];
        }
}

#else

enum {
    TILE_M = MATMUL_TILE_M,
    TILE_N = MATMUL_TILE_N,
    TILE_K = MATMUL_TILE_K,
    ROWS = MATMUL_ROWS,
    COLUMNS = MATMUL_COLUMNS,
    VECTOR = MATMUL_VECTOR,
    WIDTH = COLUMNS * VECTOR
};

_Static_assert(N % TILE_M == 0 && N % TILE_N == 0 && N % TILE_K == 0, "tiles must divide the matrix");
_Static_assert(TILE_M % ROWS == 0 && TILE_N % WIDTH == 0, "the register block must divide a tile");

typedef float vec __attribute__((vector_size(VECTOR * sizeof(float)), aligned(sizeof(float)), may_alias));

/* One tile of B, its columns gathered in strips of WIDTH, so that the inner
 * loop reads memory from front to back. */
static float packed[TILE_K * TILE_N] __attribute__((aligned(64)));

static void pack(const float *b)
{
    float *to = packed;
    for (int j = 0; j < TILE_N; j += WIDTH)
        for (int k = 0; k < TILE_K; k++, to += WIDTH)
            memcpy(to, b + k * N + j, sizeof(float) * WIDTH);
}

/* ROWS rows of A times one strip of B, added to a block of C. */
static inline void block(const float *restrict a, const float *restrict strip, float *restrict c)
{
    vec sum[ROWS][COLUMNS];
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++)
            sum[i][j] = *(const vec *)(c + i * N + j * VECTOR);
    for (int k = 0; k < TILE_K; k++)
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < COLUMNS; j++)
                sum[i][j] += a[i * N + k] * *(const vec *)(strip + k * WIDTH + j * VECTOR);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++)
            *(vec *)(c + i * N + j * VECTOR) = sum[i][j];
}

void matmul(const float *a, const float *b, float *c)
{
    memset(c, 0, sizeof(float) * N * N);
    for (int j0 = 0; j0 < N; j0 += TILE_N)
        for (int k0 = 0; k0 < N; k0 += TILE_K) {
            pack(b + k0 * N + j0);
            for (int i0 = 0; i0 < N; i0 += TILE_M)
                for (int j = 0; j < TILE_N; j += WIDTH)
                    for (int i = i0; i < i0 + TILE_M; i += ROWS)
                        block(a + i * N + k0, packed + j * TILE_K, c + i * N + j0 + j);
        }
}

#endif
