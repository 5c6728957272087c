/* C = A * B for square, row-major matrices of floats. */
#ifndef MATMUL_H
#define MATMUL_H

enum { MATMUL_N = 512 };

void matmul(const float *a, const float *b, float *c);

#endif
