package bench

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
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
