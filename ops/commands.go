package ops

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Exit codes of the commands; 0 is done.
const (
	ExitFailed = 1 // it was tried and did not work out: any error without a code
	ExitUsage  = 2 // it was called wrongly, nothing was tried
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

// CommandDeps is what the commands need of the process that they run in. All of
// it is required but Couriers.
type CommandDeps struct {
	// Admin finds the running appliance: where its admin listener is and which
	// token it wants.
	Admin func(cmd *cobra.Command) (address, token string, err error)

	In          io.Reader
	Out, Err    io.Writer
	InTerminal  bool // whether somebody can be asked
	ErrTerminal bool // whether progress can be drawn

	Now  func() time.Time
	Zone *time.Location // times are shown in it

	// Couriers join the couriers' commands: those that read the configuration, which
	// is not known here. One of them is called test.
	Couriers []*cobra.Command
}

// Commands returns the operators' commands. Their errors carry an exit code
// where it is not [ExitFailed]; they are returned, not printed. What the flag
// parser and the commands' Args complain about is a wrong usage too, for the
// root command to say.
func Commands(deps CommandDeps) []*cobra.Command {
	c := &commands{CommandDeps: deps, clock: clock{now: deps.Now, zone: deps.Zone}}
	return []*cobra.Command{c.status(), c.health(), c.events(), c.shipments(), c.rejections(), c.couriers(), c.dlq(), c.queue()}
}

type commands struct {
	CommandDeps
	clock clock
}

// askTimeout is how long a command waits for one answer.
const askTimeout = 30 * time.Second

func (c *commands) client(cmd *cobra.Command, timeout time.Duration) (*Client, error) {
	address, token, err := c.Admin(cmd)
	if err != nil {
		return nil, err
	}
	return NewClient(ClientConfig{Address: address, Token: token, Timeout: timeout})
}

// jsonFlag adds --json and returns where it stands.
func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print as JSON")
}

// group returns a command that only holds others.
func group(use, short string, subcommands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs}
	var names []string
	for _, sub := range subcommands {
		names = append(names, sub.Name())
		cmd.AddCommand(sub)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError("%s has no command %q: it has %s", cmd.CommandPath(), args[0], strings.Join(names, ", "))
		}
		return usageError("%s needs a command: %s", cmd.CommandPath(), strings.Join(names, ", "))
	}
	return cmd
}

// say tells people something that is no result.
func (c *commands) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Err, format+"\n", args...)
}

// confirm asks before something that can't be taken back. It returns nil when
// yes is set or was answered.
func (c *commands) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	if !c.InTerminal {
		return usageError("%s Nobody can be asked here: add --yes to do it, or --dry-run to see what would be done", question)
	}
	_, _ = fmt.Fprintf(c.Err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(c.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	default:
		return errors.New("nothing was done")
	}
}
