/* The trusted result: the same product, summed in double precision. Reads the
 * inputs in EXP_INPUT_DIR and writes c.f32 to EXP_OUTPUT_DIR. Shares no code
 * with the kernel. */
#include "matmul.h"

#include <stdio.h>
#include <stdlib.h>

enum { N = MATMUL_N };

static float a[N * N], b[N * N], c[N * N];

static FILE *in_dir(const char *variable, const char *name, const char *mode)
{
    const char *dir = getenv(variable);
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir ? dir : ".", name);
    FILE *f = fopen(path, mode);
    if (!f) {
        perror(path);
        exit(1);
    }
    return f;
}

static void load(const char *name, float *m)
{
    FILE *f = in_dir("EXP_INPUT_DIR", name, "rb");
    if (fread(m, sizeof *m, N * N, f) != N * N) {
        fprintf(stderr, "%s is too short\n", name);
        exit(1);
    }
    fclose(f);
}

int main(void)
{
    load("a.f32", a);
    load("b.f32", b);
    for (int i = 0; i < N; i++) {
        double row[N] = {0};
        for (int k = 0; k < N; k++)
            for (int j = 0; j < N; j++)
                row[j] += (double)a[i * N + k] * b[k * N + j];
        for (int j = 0; j < N; j++)
            c[i * N + j] = (float)row[j];
    }
    FILE *f = in_dir("EXP_OUTPUT_DIR", "c.f32", "wb");
    if (fwrite(c, sizeof *c, N * N, f) != N * N || fclose(f) != 0) {
        perror("c.f32");
        return 1;
    }
    return 0;
}
