package torch

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/procfs"
)

// TestMemoryIsLimited: what does not fit is refused, what fits is not, and what
// is freed counts no longer.
func TestMemoryIsLimited(t *testing.T) {
	e := start(t)
	const mib = 1 << 20
	LimitMemory(Memory() + 8*mib)
	defer LimitMemory(NoLimit)
	take := func(bytes int64) error {
		return e.Do(context.Background(), func(s *Scope) error {
			Full(s, 1, Float32, CPU, bytes/4)
			return nil
		})
	}
	var failure *Error
	for range 100 {
		if err := take(7 * mib); err != nil {
			t.Fatalf("7 of 8 MiB: %v", err)
		}
		if err := take(9 * mib); !errors.As(err, &failure) || !failure.OutOfMemory() {
			t.Fatalf("9 of 8 MiB: %v, want an out-of-memory *Error", err)
		}
	}
	before := Memory()
	do(t, e, func(s *Scope) error {
		Full(s, 1, Float32, CPU, mib)
		if got := Memory() - before; got < 4*mib || got > 4*mib+4096 {
			t.Errorf("4 MiB are counted as %d bytes", got)
		}
		return nil
	})
	if Memory() != before {
		t.Errorf("%d bytes are counted after their end", Memory()-before)
	}
}

// TestPackedWeightsCount: what the library allocates for them is refused, too.
func TestPackedWeightsCount(t *testing.T) {
	e, err := Start(EngineConfig{Device: "cpu", Precision: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	do(t, e, func(s *Scope) error {
		w := layer(s, Float32, 1024, 1024) // 4 MiB
		LimitMemory(Memory() + 1<<20)
		defer LimitMemory(NoLimit)
		if failure := Try(w.Pack); failure == nil || !failure.OutOfMemory() {
			t.Errorf("4 MiB packed where 1 MiB is left: %v, want an out-of-memory *Error", failure)
		}
		return nil
	})
}

// TestTrimMemory: freed tensors below one that lives stay in the process until then.
func TestTrimMemory(t *testing.T) {
	do(t, start(t), func(s *Scope) error {
		many := NewScope()
		for range 2000 {
			Full(many, 1, Float32, CPU, 100<<10/4) // malloc maps larger ones apart
		}
		Full(s, 1, Float32, CPU, 100<<10/4)
		many.Close()
		before := resident(t)
		TrimMemory()
		if freed := before - resident(t); freed < 100 {
			t.Errorf("%.0f MiB went back to the system of 195 MiB that are free", freed)
		}
		return nil
	})
}

// TestShapesDoNotPileUp multiplies by packed weights in a thousand shapes. The
// libraries keep code for each shape, 0.66 MiB, until their caches are full.
func TestShapesDoNotPileUp(t *testing.T) {
	e, err := Start(EngineConfig{Device: "cpu", Precision: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const shapes = 1000
	multiply := func(from, to int) {
		do(t, e, func(s *Scope) error {
			w := layer(s, e.DType(), 256, 256)
			if e.PacksWeights() {
				w.Pack()
			}
			for rows := from; rows < to; rows++ {
				s := NewScope()
				Linear(s, Zeros(s, e.DType(), CPU, int64(rows), 256), w, After{GELU: rows%2 == 0})
				s.Close()
			}
			return nil
		})
	}
	multiply(1, 200) // more than the caches hold
	before := resident(t)
	multiply(200, shapes)
	if grown := resident(t) - before; grown > 100 {
		t.Errorf("%.0f MiB more after %d further shapes", grown, shapes-200)
	}
}

// resident is the memory of this process that lies in RAM, in MiB.
func resident(t *testing.T) float64 {
	self, err := procfs.Self()
	if err != nil {
		t.Fatal(err)
	}
	stat, err := self.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return float64(stat.ResidentMemory()) / (1 << 20)
}
