package bench

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// Exit codes of the commands; 0 is done.
const (
	ExitFailed = 1 // it was tried and did not work out: any error without a code
	ExitUsage  = 2 // it was called wrongly, nothing was tried
	ExitMissed = 3 // it was done, and a threshold was missed
)

// ExitError is an error with the code that the process should exit with.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }
func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode returns the code; whoever runs the commands asks for it by this
// method.
func (e *ExitError) ExitCode() int { return e.Code }

func usageError(format string, args ...any) error {
	return &ExitError{Code: ExitUsage, Err: fmt.Errorf(format, args...)}
}

// Progress shows how far a long command has come.
type Progress interface {
	Step(ok bool)      // one item is dealt with
	Print(line string) // a line of its own, on standard error
	Clear()            // makes way on the terminal until the next step
}

// CommandDeps is what the commands need of the process that they run in. All of
// it is required.
type CommandDeps struct {
	// Target finds a courier's settings and the appliance's address; an empty
	// name means the default courier.
	Target func(cmd *cobra.Command, courier string) (Target, error)
	// Progress starts to show progress on standard error; total is 0 when
	// nobody knows it.
	Progress func(verb string, total int) Progress
	// Admin finds the running appliance's admin listener and its token, "" for
	// none.
	Admin func(cmd *cobra.Command) (address, token string, err error)
	// Serve is the command `bench serve`, which a load test starts in a process
	// of its own: it serves with [Faults] and tells by a [Ready] line where.
	Serve *cobra.Command

	In          io.Reader
	Out, Err    io.Writer
	ErrTerminal bool // Err is a terminal
	Now         func() time.Time
}

// Commands returns the commands. Their errors carry an exit code where it is
// not [ExitFailed]; they are returned, not printed. What the flag parser and the
// commands' Args complain about is a wrong usage too, for the root command to
// say.
func Commands(deps CommandDeps) []*cobra.Command {
	c := &commands{CommandDeps: deps}
	return []*cobra.Command{c.sign(), c.send(), c.bench()}
}

type commands struct{ CommandDeps }

// signFlags say who signs, when and how.
type signFlags struct{ courier, timestamp, algorithm, url string }

func (f *signFlags) add(cmd *cobra.Command) {
	algorithms := make([]string, len(signature.Algorithms))
	for i, a := range signature.Algorithms {
		algorithms[i] = string(a)
	}
	cmd.Flags().StringVar(&f.courier, "courier", "", "sign as this courier (default: the default courier)")
	cmd.Flags().StringVar(&f.timestamp, "timestamp", "", "sign by this time, in Unix seconds or RFC 3339 (default: now)")
	cmd.Flags().StringVar(&f.algorithm, "algorithm", "", fmt.Sprintf("one of %v (default: the courier's first)", algorithms))
	cmd.Flags().StringVar(&f.url, "url", "", "where the appliance is, or the whole address of its endpoint (default: as configured)")
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("algorithm", cobra.FixedCompletions(algorithms, cobra.ShellCompDirectiveNoFileComp))
}

// signer is a courier, ready to sign for an endpoint.
type signer struct {
	courier string
	url     string // whole address of the endpoint
	scheme  *signature.Scheme
	now     func() time.Time // the time to sign by
}

func (c *commands) signer(cmd *cobra.Command, flags signFlags) (*signer, error) {
	now, err := c.signTime(flags.timestamp)
	if err != nil {
		return nil, err
	}
	algorithm := signature.Algorithm(flags.algorithm)
	if algorithm != "" && !slices.Contains(signature.Algorithms, algorithm) {
		return nil, usageError("--algorithm %q is none of %v", flags.algorithm, signature.Algorithms)
	}
	target, err := c.Target(cmd, flags.courier)
	if err != nil {
		return nil, err
	}
	if flags.url != "" {
		target.URL = flags.url
	}
	if algorithm != "" {
		target.Signature.Algorithms = []signature.Algorithm{algorithm}
	}
	scheme, err := signature.New(target.Signature)
	if err != nil {
		return nil, fmt.Errorf("courier %s: %w", target.Courier, err)
	}
	url, err := endpoint(target.URL, target.Courier)
	if err != nil {
		return nil, usageError("%w", err)
	}
	return &signer{courier: target.Courier, url: url, scheme: scheme, now: now}, nil
}

// signTime returns the clock to sign by: a fixed time when one is given.
func (c *commands) signTime(given string) (func() time.Time, error) {
	if given == "" {
		return c.Now, nil
	}
	at, err := time.Parse(time.RFC3339, given)
	if seconds, notSeconds := strconv.ParseInt(given, 10, 64); notSeconds == nil {
		at, err = time.Unix(seconds, 0), nil
	}
	if err != nil {
		return nil, usageError("--timestamp %q is neither Unix seconds nor RFC 3339", given)
	}
	return func() time.Time { return at }, nil
}
