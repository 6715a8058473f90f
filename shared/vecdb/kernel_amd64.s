#include "textflag.h"
#include "go_asm.h"

// 64 numbers of one row: 32 bytes, split into their low and high halves (Y10
// holds 15 in every byte), multiplied with 32 numbers of the query each (Y8,
// Y9) and added in pairs to int16, which cannot overflow (4·15·127), then in
// pairs to int32 (Y11 holds 1 in every int16) and summed.
#define STEP(off, sum, low, high) \
	VMOVDQU off, low; \
	VPSRLW $4, low, high; \
	VPAND Y10, low, low; \
	VPAND Y10, high, high; \
	VPMADDUBSW Y8, low, low; \
	VPMADDUBSW Y9, high, high; \
	VPADDW high, low, low; \
	VPMADDWD Y11, low, low; \
	VPADDD low, sum, sum

// FETCH asks for the n-th row of a group to come. Rows that lie apart would
// each cost a wait, and even those that follow each other come faster: what the
// processor fetches by itself ends with a page.
#define FETCH(n) \
	MOVLQSX (4*const_aheadRows+4*n)(R14), DI; \
	IMULQ R13, DI; \
	PREFETCHT0 (SI)(DI*1); \
	PREFETCHT0 64(SI)(DI*1)

// func scanAVX2(a *scanArgs)
//
// Four rows side by side; Y0..Y3 hold their sums.
TEXT ·scanAVX2(SB), NOSPLIT, $0-8
	MOVQ a+0(FP), DI
	MOVQ scanArgs_rows(DI), SI
	MOVQ scanArgs_index(DI), R14
	MOVQ scanArgs_scale(DI), R8
	MOVQ scanArgs_slack(DI), R9
	MOVQ scanArgs_query(DI), R10
	MOVQ scanArgs_upper(DI), R11
	MOVQ scanArgs_masks(DI), R12
	MOVQ scanArgs_rowBytes(DI), R13
	MOVQ scanArgs_groups(DI), CX
	VBROADCASTSS scanArgs_extra(DI), X12
	VBROADCASTSS scanArgs_queryScale(DI), X13
	VBROADCASTSS scanArgs_queryNorm(DI), X14
	VBROADCASTSS scanArgs_threshold(DI), X15
	VPCMPEQW Y11, Y11, Y11
	VPSRLW $15, Y11, Y11
	VPCMPEQW Y10, Y10, Y10
	VPSRLW $12, Y10, Y10
	VPACKUSWB Y10, Y10, Y10

group:
	FETCH(0)
	FETCH(1)
	FETCH(2)
	FETCH(3)

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
	VMOVDQU 32(R10)(DI*2), Y9
	STEP((AX)(DI*1), Y0, Y4, Y5)
	STEP((BX)(DI*1), Y1, Y6, Y7)
	STEP((DX)(DI*1), Y2, Y4, Y5)
	STEP((R15)(DI*1), Y3, Y6, Y7)
	ADDQ $32, DI
	CMPQ DI, R13
	JLT step

	// The sums of the four rows into the four places of X0.
	VPHADDD Y1, Y0, Y0
	VPHADDD Y3, Y2, Y2
	VPHADDD Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD X1, X0, X0

	// upper = float(2·sum − offset)·(scale·queryScale) + slack·queryNorm + extra
	MOVQ a+0(FP), DI
	VPBROADCASTD scanArgs_offset(DI), X1
	VPADDD X0, X0, X0
	VPSUBD X1, X0, X0
	VCVTDQ2PS X0, X0
	VMULPS (R8), X13, X4
	VMULPS X4, X0, X0
	VMOVUPS (R9), X5
	VFMADD231PS X14, X5, X0
	VADDPS X12, X0, X0
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

// func dotAVX2(a *dotArgs)
//
// A row's 32 numbers a step, in four sums of eight; while a row is computed,
// the next one is fetched, because rows far apart would each cost a wait.
TEXT ·dotAVX2(SB), NOSPLIT, $0-8
	MOVQ a+0(FP), DI
	MOVQ dotArgs_rows(DI), SI
	MOVQ dotArgs_index(DI), R8
	MOVQ dotArgs_product(DI), R9
	MOVQ dotArgs_query(DI), R10
	MOVQ dotArgs_dim(DI), R11
	MOVQ dotArgs_n(DI), CX
	SHLQ $2, R11 // bytes
	MOVLQSX (R8), AX
	IMULQ R11, AX
	ADDQ SI, AX

row:
	MOVLQSX 4(R8), BX // the next row
	IMULQ R11, BX
	ADDQ SI, BX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	XORQ DX, DX

part:
	PREFETCHT0 (BX)(DX*1)
	PREFETCHT0 64(BX)(DX*1)
	VMOVUPS (AX)(DX*1), Y4
	VMOVUPS 32(AX)(DX*1), Y5
	VMOVUPS 64(AX)(DX*1), Y6
	VMOVUPS 96(AX)(DX*1), Y7
	VFMADD231PS (R10)(DX*1), Y4, Y0
	VFMADD231PS 32(R10)(DX*1), Y5, Y1
	VFMADD231PS 64(R10)(DX*1), Y6, Y2
	VFMADD231PS 96(R10)(DX*1), Y7, Y3
	ADDQ $128, DX
	CMPQ DX, R11
	JLT part

	VADDPS Y1, Y0, Y0
	VADDPS Y3, Y2, Y2
	VADDPS Y2, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPS X1, X0, X0
	VHADDPS X0, X0, X0
	VHADDPS X0, X0, X0
	VMOVSS X0, (R9)

	MOVQ BX, AX
	ADDQ $4, R8
	ADDQ $4, R9
	DECQ CX
	JNZ row

	VZEROUPPER
	RET
