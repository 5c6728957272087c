/* Drives matmul() for Fleetune:
 *
 *   matmul inputs   write random matrices for EXP_SEED to EXP_INPUT_DIR
 *   matmul check    multiply them once, the product goes to EXP_OUTPUT_DIR
 *   matmul run      measure, and report to EXP_RESULT_PATH
 *   matmul verify   compare with a plain product in this process
 */
#include "matmul.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N = MATMUL_N, SETS = 3, MAX_SAMPLES = 1000 };

/* Inputs are rotated while timing, so that nothing can be carried over from
 * one multiplication to the next. */
static float a[SETS][N * N], b[SETS][N * N], c[N * N];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static const char *variable(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static void file(const char *dir, const char *name, const char *mode, float *m)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", variable(dir, "."), name);
    FILE *f = fopen(path, mode);
    if (!f)
        die(path);
    size_t n = *mode == 'r' ? fread(m, sizeof *m, N * N, f) : fwrite(m, sizeof *m, N * N, f);
    if (n != N * N || fclose(f) != 0)
        die(path);
}

/* splitmix64, a public-domain generator by Sebastiano Vigna. */
static uint64_t state;

static float uniform(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (float)((double)(z >> 11) / (double)(1ull << 52) - 1.0); /* -1 to 1 */
}

static void fill(float *m)
{
    for (int i = 0; i < N * N; i++)
        m[i] = uniform();
}

/* A kernel that leaves an element unwritten must not find an old result there. */
static void poison(void)
{
    for (int i = 0; i < N * N; i++)
        c[i] = NAN;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double sample(int set)
{
    poison();
    double start = now();
    matmul(a[set], b[set], c);
    return now() - start;
}

static void metric(FILE *f, const char *name, const char *unit, const double *values, int n)
{
    fprintf(f, "\"%s\": {\"unit\": \"%s\", \"samples\": [", name, unit);
    for (int i = 0; i < n; i++)
        fprintf(f, "%s%.9g", i ? ", " : "", values[i]);
    fprintf(f, "]}");
}

static void report(const double *seconds, int n)
{
    static double ms[MAX_SAMPLES], rate[MAX_SAMPLES];
    for (int i = 0; i < n; i++) {
        ms[i] = seconds[i] * 1e3;
        rate[i] = 2.0 * N * N * N / seconds[i] * 1e-9;
    }
    const char *path = variable("EXP_RESULT_PATH", "result.json");
    char draft[4096];
    snprintf(draft, sizeof draft, "%s.draft", path);
    FILE *f = fopen(draft, "w");
    if (!f)
        die(draft);
    fprintf(f, "{\"schema\": 1, \"run_id\": \"%s\", \"correct\": true, \"metrics\": {", variable("EXP_RUN_ID", ""));
    metric(f, "time_ms", "ms", ms, n);
    fprintf(f, ", ");
    metric(f, "gflops", "GFLOP/s", rate, n);
    fprintf(f, "}}\n");
    if (fclose(f) != 0 || rename(draft, path) != 0)
        die(path);
}

static void run(void)
{
    int warmups = atoi(variable("EXP_WARMUPS", "1")), repeats = atoi(variable("EXP_REPEATS", "10"));
    if (repeats > MAX_SAMPLES)
        repeats = MAX_SAMPLES;
    state = strtoull(variable("EXP_SEED", "1"), NULL, 10);
    for (int set = 1; set < SETS; set++) {
        fill(a[set]);
        fill(b[set]);
    }
    static double seconds[MAX_SAMPLES];
    for (int i = 0; i < warmups; i++)
        sample(1 + i % (SETS - 1));
    for (int i = 0; i < repeats; i++) /* ends with set 0, whose product is checked */
        seconds[i] = sample((repeats - 1 - i) % SETS);
    file("EXP_OUTPUT_DIR", "c.f32", "wb", c);
    report(seconds, repeats);
}

static int verify(void)
{
    state = 1;
    fill(a[0]);
    fill(b[0]);
    sample(0);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < N; k++)
                sum += (double)a[0][i * N + k] * b[0][k * N + j];
            if (!(fabs(c[i * N + j] - sum) <= 1e-3)) {
                fprintf(stderr, "element (%d, %d) is %g, not %g\n", i, j, c[i * N + j], sum);
                return 1;
            }
        }
    puts("the product is correct");
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "verify"))
        return verify();
    if (!strcmp(mode, "inputs")) {
        state = strtoull(variable("EXP_SEED", "1"), NULL, 10);
        fill(a[0]);
        fill(b[0]);
        file("EXP_INPUT_DIR", "a.f32", "wb", a[0]);
        file("EXP_INPUT_DIR", "b.f32", "wb", b[0]);
        return 0;
    }
    if (strcmp(mode, "check") && strcmp(mode, "run")) {
        fprintf(stderr, "usage: matmul inputs|check|run|verify\n");
        return 2;
    }
    file("EXP_INPUT_DIR", "a.f32", "rb", a[0]);
    file("EXP_INPUT_DIR", "b.f32", "rb", b[0]);
    if (!strcmp(mode, "run")) {
        run();
        return 0;
    }
    sample(0);
    file("EXP_OUTPUT_DIR", "c.f32", "wb", c);
    return 0;
}
