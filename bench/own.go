package bench

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
)

// SecretVariable is the environment variable by which an appliance that is
// started for a load test gets its courier's secret.
const SecretVariable = "BENCH_COURIER_SECRET"

// Ready is the line of JSON by which `bench serve` tells, on standard output,
// that it serves. It is the only line there.
type Ready struct {
	URL     string `json:"url"`     // of the couriers' listener
	Admin   string `json:"admin"`   // URL of the operators' listener
	DataDir string `json:"dataDir"` //
	PID     int    `json:"pid"`
}

// Bounds of an own appliance's life.
const (
	startPatience = 30 * time.Second
	stopPatience  = 30 * time.Second
	logTail       = 2 << 10 // bytes of its log that an error shows
)

// ownConfig says which appliance to start.
type ownConfig struct {
	executable string
	config     string // its configuration file, "" for the defaults
	courier    string
	secret     string
	sync       string
	faults     Faults
}

// own is an appliance in a process and a directory of its own.
type own struct {
	ready Ready
	dir   string
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{} // closed when the process has ended
	err   error         // how it ended; valid after ended
}

// startOwn starts an appliance on a new directory and waits until it serves. It
// gets no variable that configures an appliance: it must never reach the stores
// and brokers of a real one.
func startOwn(ctx context.Context, cfg ownConfig) (_ *own, err error) {
	dir, err := os.MkdirTemp("", "appliance-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the appliance: %w", err)
	}
	o := &own{dir: dir, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start an appliance of its own: %w%s", err, o.tail())
			err = errors.Join(err, o.stop(false))
		}
	}()
	log, err := os.Create(filepath.Join(dir, "appliance.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has it
	o.cmd = exec.Command(cfg.executable, cfg.arguments(filepath.Join(dir, "data"))...)
	o.cmd.Env = append(withoutSettings(os.Environ()), SecretVariable+"="+cfg.secret)
	o.cmd.Stderr = log
	if o.stdin, err = o.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := o.cmd.Start(); err != nil {
		o.cmd = nil
		return nil, err
	}
	first := make(chan []byte, 1)
	go o.follow(out, first)
	return o, o.await(ctx, first)
}

func (c *ownConfig) arguments(dir string) []string {
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

// follow hands on the first line of out and waits for the process to end.
func (o *own) follow(out io.Reader, first chan<- []byte) {
	lines := bufio.NewReader(out)
	if line, err := lines.ReadBytes('\n'); err == nil {
		first <- line
	}
	_, _ = io.Copy(io.Discard, lines) // until it ends
	o.err = o.cmd.Wait()
	close(o.ended)
}

func (o *own) await(ctx context.Context, first <-chan []byte) error {
	limit := time.NewTimer(startPatience)
	defer limit.Stop()
	select {
	case line := <-first:
		if err := json.Unmarshal(line, &o.ready); err != nil {
			return fmt.Errorf("it said %q: %w", line, err)
		}
		return nil
	case <-o.ended:
		return o.gone()
	case <-limit.C:
		return fmt.Errorf("it did not serve within %v", startPatience)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// gone is the error of an appliance that has ended by itself.
func (o *own) gone() error {
	if o.err != nil {
		return fmt.Errorf("the appliance ended by itself: %w", o.err)
	}
	return errors.New("the appliance ended by itself")
}

// stop ends the process as an operator would, and removes its directory unless
// that is to be kept. It may be called on what was never started whole.
func (o *own) stop(keep bool) error {
	var err error
	if o.cmd != nil && o.cmd.Process != nil {
		err = o.end()
	}
	if !keep {
		err = errors.Join(err, os.RemoveAll(o.dir))
	}
	return err
}

func (o *own) end() error {
	select {
	case <-o.ended:
		return nil // by itself, see gone
	default:
	}
	_ = o.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended just now
	select {
	case <-o.ended:
	case <-time.After(stopPatience):
		_ = o.cmd.Process.Kill()
		<-o.ended
		return fmt.Errorf("the appliance did not stop within %v and was killed%s", stopPatience, o.tail())
	}
	_ = o.stdin.Close()
	if o.err != nil {
		return fmt.Errorf("the appliance did not end well: %w%s", o.err, o.tail())
	}
	return nil
}

// tail returns the end of the appliance's log, for an error to show.
func (o *own) tail() string {
	text, err := os.ReadFile(filepath.Join(o.dir, "appliance.log"))
	text = bytes.TrimSpace(text)
	if err != nil || len(text) == 0 {
		return ""
	}
	if len(text) > logTail {
		text = text[len(text)-logTail:]
	}
	return "\nits log ends:\n" + string(text)
}
