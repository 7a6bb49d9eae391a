// Package cli has the operators' commands: status, health, events, shipments,
// rejections, couriers, dlq and queue.
//
// In come a command line and, through ops/client, the documents of a running
// appliance. Out goes text for people or, with --json, the document; everything
// that is not a result goes to the error stream. Every text that a courier may have written is
// escaped, in tables and JSON by ops/terminal, in errors by this package. Package
// appliance adds the commands to its own; no other package imports this one.
//
// A kind of thing has a file of its own (dlq.go, rejections.go, ...), with what it
// prints. What several of them share is in show.go, list.go and action.go.
package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// Deps is what the commands need of the process that they run in. All of it is
// required but Couriers.
type Deps struct {
	// Admin finds the running appliance: where its admin listener is and which
	// token it wants. The time-out is each command's own.
	Admin func(cmd *cobra.Command) (client.Config, error)

	In          io.Reader
	Out, Err    io.Writer
	InTerminal  bool // whether a person can be asked
	ErrTerminal bool // whether progress can be drawn

	Now  func() time.Time
	Zone *time.Location // times are shown in it

	// Couriers join the couriers' commands: those that read the configuration, which
	// is not known here. One of them is called test.
	Couriers []*cobra.Command
}

// Commands returns the operators' commands. An error is returned, not printed, and safe
// to print on a terminal; where it means that nothing was tried, its method ExitCode
// returns 2. What the flag parser and the commands' Args complain about is a wrong usage
// too, for the root command to say.
func Commands(deps Deps) []*cobra.Command {
	c := &commands{Deps: deps, print: &printer{
		out: deps.Out, err: deps.Err, clock: terminal.Clock{Now: deps.Now, Zone: deps.Zone}, canTest: len(deps.Couriers) > 0,
	}}
	return []*cobra.Command{c.status(), c.health(), c.events(), c.shipments(), c.rejections(), c.couriers(), c.dlq(), c.queue()}
}

// commands builds the commands.
type commands struct {
	Deps
	print *printer
}

// printer prints documents for people.
type printer struct {
	out, err io.Writer
	clock    terminal.Clock
	canTest  bool // whether there is a command couriers test
}

// say writes a text that is not a result to the error stream: escaped, and in lines that
// fit it where it is a terminal.
func (p *printer) say(format string, args ...any) {
	screen := terminal.NewScreen(p.err)
	screen.Color = false // the flags about colours are for results
	_ = tell(screen, fmt.Sprintf(format, args...))
}

// tell writes a text in lines that fit where it goes.
func tell(out io.Writer, text string) error {
	t := terminal.NewTable(out)
	t.Row(text)
	return t.Flush()
}

// askTimeout is how long a command waits for one answer.
const askTimeout = 30 * time.Second

// asker is what a command does with a client of the running appliance.
type asker func(cmd *cobra.Command, api *client.Client, args []string) error

// run completes a command that asks the running appliance.
func (c *commands) run(cmd *cobra.Command, ask asker) *cobra.Command {
	timeout := askTimeout
	return c.runWithin(cmd, &timeout, ask)
}

// runWithin is run with a bound on one answer, which is read when the command runs.
func (c *commands) runWithin(cmd *cobra.Command, timeout *time.Duration, ask asker) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		to, err := c.Admin(cmd)
		if err != nil {
			return escapedError{err}
		}
		to.Timeout = *timeout
		api, err := client.New(to)
		if err == nil {
			err = ask(cmd, api, args)
		}
		if err != nil {
			return escapedError{err}
		}
		return nil
	}
	return cmd
}

// jsonFlag adds --json and returns its value.
func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print as JSON")
}

// group returns a command that only holds others.
func group(use, short string, subcommands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	cmd.AddCommand(subcommands...)
	Group(cmd)
	return cmd
}

// Group makes it wrong usage to call a command that only holds others without one of them.
func Group(cmd *cobra.Command) {
	var names []string
	for _, sub := range cmd.Commands() {
		names = append(names, sub.Name())
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			cmd.SuggestionsMinimumDistance = 2
			meant := ""
			if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
				meant = fmt.Sprintf("; did you mean %q?", like[0])
			}
			return usageError("%s has no command %q%s (it has %s)", cmd.CommandPath(), args[0], meant, strings.Join(names, ", "))
		}
		return usageError("%s needs a command: %s", cmd.CommandPath(), strings.Join(names, ", "))
	}
}

// confirm asks before something that can't be undone. It returns nil when
// yes is set or was answered.
func (c *commands) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	if !c.InTerminal {
		return usageError("%s There is no terminal to ask on: add --yes to do it, or --dry-run to see what would be done", question)
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

// usage is an error in how a command was called: nothing was tried.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// ExitCode returns the code that the process should exit with.
func (usage) ExitCode() int { return 2 }

func usageError(format string, args ...any) error { return usage{fmt.Errorf(format, args...)} }

// Exit codes that scripts can act on, beside 1 (failed) and 2 (wrong usage).
const (
	ExitNotFound    = 4 // nothing has this name or id
	ExitUnreachable = 5 // no appliance answers
)

// coded is an error with the code to exit with.
type coded struct {
	error
	code int
}

func (e coded) Unwrap() error { return e.error }
func (e coded) ExitCode() int { return e.code }

// escapedError is an error whose text is safe to print on a terminal.
type escapedError struct{ error }

func (e escapedError) Unwrap() error { return e.error }

// ExitCode returns the code that the process should exit with.
func (e escapedError) ExitCode() int {
	if inner, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](e.error); ok {
		return inner.ExitCode()
	}
	if _, gone := errors.AsType[*client.UnreachableError](e.error); gone {
		return ExitUnreachable
	}
	if p, ok := errors.AsType[*ops.Problem](e.error); ok && p.Code == event.NotFound {
		return ExitNotFound
	}
	return 1
}

// Error keeps the lines of what lists faults of a configuration. Other refusals may
// quote what a courier wrote, which must not look like a line of its own.
func (e escapedError) Error() string {
	if p, ok := errors.AsType[*ops.Problem](e.error); ok && p.Code != ops.InvalidConfig {
		return terminal.Escape(e.error.Error())
	}
	return terminal.EscapeLines(e.error.Error())
}
