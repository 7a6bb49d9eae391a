package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fincart/courier-gateway/bench"
)

// SecretVariable is the environment variable by which an appliance that is
// started for a load test gets its courier's secret.
const SecretVariable = "BENCH_COURIER_SECRET"

// Ready is the line of JSON that `bench serve` prints on standard output when it
// serves. It is the only line there.
type Ready struct {
	URL     string `json:"url"`   // of the couriers' listener
	Admin   string `json:"admin"` // URL of the operators' listener
	DataDir string `json:"dataDir"`
	PID     int    `json:"pid"`
}

// Bounds of a spawned appliance.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
	logTail      = 2 << 10 // bytes of its log that an error shows
)

// spawnConfig says which appliance to start.
type spawnConfig struct {
	executable string
	config     string // its configuration file, "" for the defaults
	courier    string
	secret     string
	sync       string
	faults     bench.Faults
}

// spawned is an appliance in a process and a directory of its own.
type spawned struct {
	ready Ready
	dir   string
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{} // closed when the process has ended
	err   error         // how it ended; valid after ended
}

// spawn starts an appliance on a new directory and waits until it serves. It
// gets no variable that configures an appliance: it must never reach the stores
// and brokers of a real one.
func spawn(ctx context.Context, cfg spawnConfig) (_ *spawned, err error) {
	dir, err := os.MkdirTemp("", "appliance-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the appliance: %w", err)
	}
	s := &spawned{dir: dir, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start an appliance: %w%s", err, s.tail())
			err = errors.Join(err, s.stop(false))
		}
	}()
	log, err := os.Create(filepath.Join(dir, "appliance.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has it
	s.cmd = exec.Command(cfg.executable, cfg.arguments(filepath.Join(dir, "data"))...)
	s.cmd.Env = append(withoutSettings(os.Environ()), SecretVariable+"="+cfg.secret)
	s.cmd.Stderr = log
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return nil, err
	}
	first := make(chan []byte, 1)
	go s.follow(out, first)
	return s, s.await(ctx, first)
}

func (c *spawnConfig) arguments(dir string) []string {
	args := []string{
		"bench", "serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--courier", c.courier, "--seed", strconv.FormatUint(c.faults.Seed, 10),
		"--transient", c.faults.Transient.String(), "--permanent", c.faults.Permanent.String(), "--until-stdin-ends",
	}
	if c.sync != "" {
		args = append(args, "--sync", c.sync)
	}
	if c.config != "" {
		args = append(args, "--config", c.config)
	}
	return args
}

// withoutSettings leaves out the variables that configure an appliance.
func withoutSettings(environment []string) (rest []string) {
	for _, v := range environment {
		if !strings.HasPrefix(v, "APPLIANCE_") {
			rest = append(rest, v)
		}
	}
	return rest
}

// follow passes the first line of out and waits for the process to end.
func (s *spawned) follow(out io.Reader, first chan<- []byte) {
	lines := bufio.NewReader(out)
	if line, err := lines.ReadBytes('\n'); err == nil {
		first <- line
	}
	_, _ = io.Copy(io.Discard, lines) // until it ends
	s.err = s.cmd.Wait()
	close(s.ended)
}

func (s *spawned) await(ctx context.Context, first <-chan []byte) error {
	limit := time.NewTimer(startTimeout)
	defer limit.Stop()
	select {
	case line := <-first:
		if err := json.Unmarshal(line, &s.ready); err != nil {
			return fmt.Errorf("it said %q: %w", line, err)
		}
		return nil
	case <-s.ended:
		return s.gone()
	case <-limit.C:
		return fmt.Errorf("it did not serve within %v", startTimeout)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// gone is the error of an appliance that has ended by itself.
func (s *spawned) gone() error {
	if s.err != nil {
		return fmt.Errorf("the appliance ended by itself: %w", s.err)
	}
	return errors.New("the appliance ended by itself")
}

// stop ends the process as an operator would, and removes its directory unless
// that is to be kept. It may be called on what was never started whole.
func (s *spawned) stop(keep bool) error {
	var err error
	if s.cmd != nil && s.cmd.Process != nil {
		err = s.end()
	}
	if !keep {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

func (s *spawned) end() error {
	select {
	case <-s.ended:
		return nil // by itself, see gone
	default:
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended just now
	select {
	case <-s.ended:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.ended
		return fmt.Errorf("the appliance did not stop within %v and was killed%s", stopTimeout, s.tail())
	}
	_ = s.stdin.Close()
	if s.err != nil {
		return fmt.Errorf("the appliance did not end well: %w%s", s.err, s.tail())
	}
	return nil
}

// tail returns the end of the appliance's log, for an error to show.
func (s *spawned) tail() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "appliance.log"))
	text = bytes.TrimSpace(text)
	if err != nil || len(text) == 0 {
		return ""
	}
	if len(text) > logTail {
		text = text[len(text)-logTail:]
	}
	return "\nits log ends:\n" + string(text)
}
