package torch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A group's ranks are processes: this test binary, started again with the
// variables that torchrun would set, and told what to do by rankTask.
const rankTask = "VIDEOSIM_TEST_RANK_TASK"

var rankTasks = map[string]func(s *Scope, g *Group) error{
	"collectives": collectives,
	"equal":       writeSum,
	"die":         dieInTheMiddle,
	"absent":      waitForTheAbsent,
}

func TestMain(m *testing.M) {
	if task := os.Getenv(rankTask); task != "" {
		if err := runRank(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runRank(task string) error {
	cfg, ok, err := GroupFromEnv()
	if err != nil || !ok {
		return fmt.Errorf("the environment names no group: %w", err)
	}
	cfg.Timeout = 5 * time.Second
	e, err := Start(EngineConfig{Threads: 1})
	if err != nil {
		return err
	}
	defer e.Close()
	return e.Do(context.Background(), func(s *Scope) error {
		g, err := OpenGroup(cfg)
		if err != nil {
			return err
		}
		defer g.Close()
		return rankTasks[task](s, g)
	})
}

// startRanks starts size processes and returns them with what they print.
func startRanks(t *testing.T, task string, size int) ([]*exec.Cmd, []*strings.Builder) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	var ranks []*exec.Cmd
	var output []*strings.Builder
	for rank := range size {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), rankTask+"="+task, "MASTER_ADDR=127.0.0.1", "MASTER_PORT="+port,
			"WORLD_SIZE="+strconv.Itoa(size), "RANK="+strconv.Itoa(rank))
		out := &strings.Builder{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		ranks, output = append(ranks, cmd), append(output, out)
	}
	return ranks, output
}

func TestGroupCollectives(t *testing.T) {
	ranks, output := startRanks(t, "collectives", 3)
	for i, r := range ranks {
		if err := r.Wait(); err != nil {
			t.Errorf("rank %d: %v\n%s", i, err, output[i])
		}
	}
}

func collectives(s *Scope, g *Group) error {
	r, n := float32(g.Rank()), g.Size()
	// A small tensor, one that is no single piece of memory, one of another
	// dtype, one that fills a bucket, and one more small one.
	small := FromFloat32s(s, []float32{r, 1, 2 * r}, 3)
	strided := Transpose(s, FromFloat32s(s, []float32{r, 10, 20, 30, 40, 50}, 2, 3), 0, 1)
	count := FromInt64s(s, []int64{int64(r) + 1}, 1)
	large := Full(s, float64(r)+1, Float32, CPU, 7<<20) // 28 MiB
	last := FromFloat32s(s, []float32{-r})
	last.SetRequiresGrad(true)
	g.SumAll(small, strided, count, large, last)
	sum := float32(n * (n - 1) / 2)
	all := float32(n)
	if got, want := small.Float32s(), []float32{sum, all, 2 * sum}; !slices.Equal(got, want) {
		return fmt.Errorf("sum: got %v, want %v", got, want)
	}
	if got, want := strided.Float32s(), []float32{sum, 30 * all, 10 * all, 40 * all, 20 * all, 50 * all}; !slices.Equal(got, want) {
		return fmt.Errorf("sum of a transposed tensor: got %v, want %v", got, want)
	}
	if got, want := count.Int64s()[0], int64(n*(n+1)/2); got != want {
		return fmt.Errorf("sum of int64: got %d, want %d", got, want)
	}
	if got, want := large.Float32s(), float32(n*(n+1)/2); slices.Min(got) != want || slices.Max(got) != want {
		return fmt.Errorf("sum of a large tensor: got %v to %v, want %v", slices.Min(got), slices.Max(got), want)
	}
	if got := last.Item(); got != -float64(sum) || !last.RequiresGrad() {
		return fmt.Errorf("sum of a parameter: got %v (gradients: %v), want %v", got, last.RequiresGrad(), -sum)
	}

	learned := FromFloat32s(s, []float32{r, r + 1}, 1, 2)
	learned.SetRequiresGrad(true)
	for rank, got := range g.Gather(s, MulScalar(s, learned, 2)) {
		want := []float32{2 * float32(rank), 2*float32(rank) + 2}
		if !slices.Equal(got.Float32s(), want) || !slices.Equal(got.Shape(), []int64{1, 2}) || got.RequiresGrad() {
			return fmt.Errorf("gathered from rank %d: %v %v, want %v", rank, got.Shape(), got.Float32s(), want)
		}
	}

	g.Broadcast(n-1, small, learned)
	if got, want := learned.Float32s(), []float32{float32(n) - 1, float32(n)}; !slices.Equal(got, want) {
		return fmt.Errorf("broadcast: got %v, want %v", got, want)
	}
	g.Barrier()
	return nil
}

// The sum over two ranks is the same bits on both, and in any run.
func TestGroupSumsAreEqualOnAllRanks(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("VIDEOSIM_TEST_OUT", dir)
	for run := range 2 {
		ranks, output := startRanks(t, "equal", 2)
		for i, r := range ranks {
			if err := r.Wait(); err != nil {
				t.Fatalf("run %d, rank %d: %v\n%s", run, i, err, output[i])
			}
		}
		first, err := os.ReadFile(filepath.Join(dir, "0"))
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(filepath.Join(dir, "1"))
		if err != nil {
			t.Fatal(err)
		}
		if len(first) != 4<<20 || !slices.Equal(first, second) {
			t.Errorf("run %d: the ranks hold different sums", run)
		}
		if before, err := os.ReadFile(filepath.Join(dir, "before")); err == nil && !slices.Equal(before, first) {
			t.Error("two runs gave different sums")
		}
		if err := os.WriteFile(filepath.Join(dir, "before"), first, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func writeSum(s *Scope, g *Group) error {
	Seed(CPU, uint64(g.Rank()))
	t := Empty(s, Float32, CPU, 1<<20)
	t.Normal(0, 1)
	g.SumAll(t)
	return os.WriteFile(filepath.Join(os.Getenv("VIDEOSIM_TEST_OUT"), strconv.Itoa(g.Rank())), t.Bytes(), 0o600)
}

// A rank that dies or stays away is an error of the others, in time.
func TestGroupLosesARank(t *testing.T) {
	for _, task := range []string{"die", "absent"} {
		start := time.Now()
		ranks, output := startRanks(t, task, 2)
		err := ranks[0].Wait()
		if took := time.Since(start); err != nil || took > 30*time.Second {
			t.Errorf("%s: rank 0 took %v: %v\n%s", task, took, err, output[0])
		}
	}
}

func dieInTheMiddle(s *Scope, g *Group) error {
	t := Full(s, 1, Float32, CPU, 1<<20)
	g.SumAll(t)
	if g.Rank() == 1 {
		os.Exit(3)
	}
	return fails(func() { g.SumAll(t) })
}

func waitForTheAbsent(s *Scope, g *Group) error {
	if g.Rank() == 1 {
		time.Sleep(time.Minute) // until the test ends it
	}
	return fails(func() { g.Barrier() })
}

// fails reports whether f fails as an operation does.
func fails(f func()) (err error) {
	defer func() {
		var failure *Error
		if e, ok := recover().(error); !ok || !errors.As(e, &failure) {
			err = fmt.Errorf("expected a *Error, found %v", e)
		}
	}()
	f()
	return nil
}

// Nobody to meet is an error too, within the timeout.
func TestOpenGroupAlone(t *testing.T) {
	start := time.Now()
	_, err := OpenGroup(GroupConfig{Rank: 1, Size: 2, Address: "127.0.0.1", Port: 1, Timeout: time.Second})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1 as rank 1 of 2") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestOpenGroupRefuses(t *testing.T) {
	good := GroupConfig{Rank: 0, Size: 1, Address: "127.0.0.1", Port: 1}
	for want, change := range map[string]func(*GroupConfig){
		"backend": func(c *GroupConfig) { c.Backend = "mpi" },
		"nccl":    func(c *GroupConfig) { c.Backend = "nccl" },
		"size":    func(c *GroupConfig) { c.Size = 0 },
		"rank":    func(c *GroupConfig) { c.Rank = 1 },
		"address": func(c *GroupConfig) { c.Address = "" },
		"port":    func(c *GroupConfig) { c.Port = 65536 },
		"timeout": func(c *GroupConfig) { c.Timeout = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := OpenGroup(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func TestGroupFromEnv(t *testing.T) {
	set := map[string]string{
		"MASTER_ADDR": "host", "MASTER_PORT": "29500", "WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1",
		"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2",
	}
	all := func(t *testing.T, except, value string) {
		for k, v := range set {
			t.Setenv(k, v)
		}
		if except != "" {
			t.Setenv(except, value)
		}
	}
	all(t, "", "")
	cfg, ok, err := GroupFromEnv()
	want := GroupConfig{Address: "host", Port: 29500, Size: 4, Rank: 3, LocalRank: 1, AgentStore: true, Attempt: 2}
	if err != nil || !ok || cfg != want {
		t.Errorf("got %+v, %v, %v, want %+v", cfg, ok, err, want)
	}
	for _, bad := range [][2]string{
		{"MASTER_ADDR", ""}, {"MASTER_PORT", ""}, {"MASTER_PORT", "65536"}, {"WORLD_SIZE", ""}, {"WORLD_SIZE", "0"},
		{"RANK", ""}, {"RANK", "4"}, {"RANK", "-1"}, {"RANK", "x"}, {"LOCAL_RANK", "x"},
		{"TORCHELASTIC_USE_AGENT_STORE", "perhaps"}, {"TORCHELASTIC_RESTART_COUNT", "-1"},
	} {
		all(t, bad[0], bad[1])
		if _, ok, err := GroupFromEnv(); err == nil || ok || !strings.Contains(err.Error(), bad[0]) {
			t.Errorf("%s=%q: got %v, %v", bad[0], bad[1], ok, err)
		}
	}
	for k := range set {
		t.Setenv(k, "")
	}
	if _, ok, err := GroupFromEnv(); ok || err != nil {
		t.Errorf("without variables: got %v, %v", ok, err)
	}
}
