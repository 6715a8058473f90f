#include "textflag.h"
#include "go_asm.h"

// Four rows side by side: 16 numbers of each row are widened to int16,
// multiplied with 16 of the query, added in pairs to int32 and summed.
// X0..X3/Y0..Y3 hold the sums of the four rows.
#define STEP(off, sum, tmp) \
	VPMOVSXBW off, tmp; \
	VPMADDWD Y8, tmp, tmp; \
	VPADDD tmp, sum, sum

// func scanAVX2(a *scanArgs)
TEXT ·scanAVX2(SB), NOSPLIT, $0-8
	MOVQ a+0(FP), DI
	MOVQ scanArgs_rows(DI), SI
	MOVQ scanArgs_index(DI), R14
	MOVQ scanArgs_scale(DI), R8
	MOVQ scanArgs_slack(DI), R9
	MOVQ scanArgs_query(DI), R10
	MOVQ scanArgs_upper(DI), R11
	MOVQ scanArgs_masks(DI), R12
	MOVQ scanArgs_stride(DI), R13
	MOVQ scanArgs_groups(DI), CX
	VBROADCASTSS scanArgs_queryScale(DI), X13
	VBROADCASTSS scanArgs_queryNorm(DI), X14
	VBROADCASTSS scanArgs_threshold(DI), X15

group:
	// AX, BX, DX, R15: where the four rows start.
	MOVLQSX 0(R14), AX
	MOVLQSX 4(R14), BX
	MOVLQSX 8(R14), DX
	MOVLQSX 12(R14), R15
	IMULQ R13, AX
	IMULQ R13, BX
	IMULQ R13, DX
	IMULQ R13, R15
	ADDQ SI, AX
	ADDQ SI, BX
	ADDQ SI, DX
	ADDQ SI, R15
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	XORQ DI, DI

step:
	VMOVDQU (R10)(DI*2), Y8
	STEP((AX)(DI*1), Y0, Y4)
	STEP((BX)(DI*1), Y1, Y5)
	STEP((DX)(DI*1), Y2, Y6)
	STEP((R15)(DI*1), Y3, Y7)
	ADDQ $16, DI
	CMPQ DI, R13
	JLT step

	// The sums of the four rows into the four places of X0.
	VPHADDD Y1, Y0, Y0
	VPHADDD Y3, Y2, Y2
	VPHADDD Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD X1, X0, X0

	// upper = float(sum)·(scale·queryScale) + slack·queryNorm
	VCVTDQ2PS X0, X0
	VMULPS (R8), X13, X4
	VMULPS X4, X0, X0
	VMOVUPS (R9), X5
	VFMADD231PS X14, X5, X0
	VMOVUPS X0, (R11)

	// Not less than the threshold, or not comparable.
	VCMPPS $5, X15, X0, X6
	VMOVMSKPS X6, DI
	MOVB DI, (R12)

	ADDQ $16, R14
	ADDQ $16, R8
	ADDQ $16, R9
	ADDQ $16, R11
	INCQ R12
	DECQ CX
	JNZ group

	VZEROUPPER
	RET
