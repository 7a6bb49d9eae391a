// The appliance receives couriers' signed webhooks, queues them on disk, and
// applies each to the merchant's shipments exactly once.
//
// This package holds the commands and handles signals. Package config reads the
// settings, package app runs an appliance.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // for payloads with local times, where the system has no zones

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/bench"
	loadtest "github.com/fincart/courier-gateway/bench/load"
	"github.com/fincart/courier-gateway/ingest/event"
	operators "github.com/fincart/courier-gateway/ops/cli"
	adminapi "github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
	"github.com/fincart/courier-gateway/process"
)

// version is set at build time by -ldflags "-X main.version=v1.2.3".
var version string

// Exit codes; a threshold that was missed is 3, see package bench/load.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = operators.ExitNotFound
	exitUnreachable = operators.ExitUnreachable
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	c := &cli{in: in, out: out, err: errOut}
	return c.run(ctx, args)
}

func (c *cli) run(ctx context.Context, args []string) int {
	c.version = buildVersion()
	c.screen = terminal.NewScreen(c.out)
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.screen)
	root.SetErr(c.err)
	root.InitDefaultCompletionCmd(args...)
	for _, sub := range root.Commands() {
		if sub.HasSubCommands() && !sub.Runnable() { // else it would print its help and succeed
			operators.Group(sub)
		}
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	code := exitCode(err)
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON || code == exitUsage && slices.Contains(args, "--json") { // the flags may not be parsed
		_ = terminal.PrintJSON(c.err, failure{Code: reason(err, code), Message: err.Error(), Exit: code}) // nowhere else to say it
		return code
	}
	fmt.Fprintf(c.err, "appliance: %s\n", terminal.EscapeLines(err.Error()))
	if code == exitUsage {
		fmt.Fprintf(c.err, "Try: %s --help\n", cmd.CommandPath())
	}
	return code
}

// failure is what a command with --json prints to standard error when it fails. The names
// are those of the API's problems.
type failure struct {
	Code    string `json:"errorCode"`
	Message string `json:"message"`
	Exit    int    `json:"exitCode"`
}

// exitCode returns the code that a command exits with for an error.
func exitCode(err error) int {
	if coded, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		return coded.ExitCode()
	}
	if _, gone := errors.AsType[*adminapi.UnreachableError](err); gone || errors.Is(err, bench.ErrNoConnection) {
		return exitUnreachable
	}
	return exitFailed
}

// reason names an error: by the code that the appliance gave, or by how the command ended.
func reason(err error, exit int) string {
	if refused, ok := errors.AsType[interface {
		error
		ErrorCode() event.Code
	}](err); ok {
		return string(refused.ErrorCode())
	}
	return cmp.Or(map[int]string{exitUsage: "USAGE", exitNotFound: string(event.NotFound), exitUnreachable: "UNREACHABLE"}[exit], "FAILED")
}

// notFound is an error about a name that nothing has.
type notFound struct{ error }

func (notFound) ExitCode() int { return exitNotFound }

// cli is what every command shares.
type cli struct {
	in        io.Reader
	out, err  io.Writer
	screen    *terminal.Screen // of out
	version   string
	wrapStore func(process.Store) process.Store // see Deps
}

// usage is an error in how a command was called.
type usage struct{ error }

func (usage) ExitCode() int { return exitUsage }

func (u usage) Unwrap() error { return u.error }

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "appliance",
		Short: "The Courier Gateway appliance: receives signed webhooks, loses none, applies each exactly once",
		Long: "The Courier Gateway appliance: receives signed webhooks, loses none, applies each exactly once.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a threshold was missed (bench), 4 nothing has\n" +
			"this name or id, 5 no appliance answers. With --json a failure is a JSON document on standard\n" +
			"error, with errorCode, message and exitCode.",
		// Errors are printed once, by run.
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage{fmt.Errorf("there is no command %q%s", args[0], config.DidYouMean(args[0], names(cmd.Commands())))}
			}
			return cmd.Help()
		},
	}
	flags := root.PersistentFlags()
	flags.String("config", "", "configuration file (default: "+config.DefaultFile+" if it is there)")
	flags.String("data-dir", "", "where everything is kept (data_dir)")
	flags.String("color", "auto", "colours: "+strings.Join(terminal.Colors, ", ")+"; auto is on a terminal, unless NO_COLOR is set")
	flags.Bool("no-color", false, "the same as --color never")
	root.PersistentPreRunE = c.setColor
	flags.String("admin-listen", "", "address of the operators' listener (admin.listen)")
	root.SetFlagErrorFunc(flagFault)
	root.AddCommand(c.serve(), configCommand(), c.versionCommand())
	root.AddCommand(operators.Commands(operators.Deps{
		Admin: findAdmin, In: c.in, Out: c.screen, Err: c.err,
		InTerminal: isTerminal(c.in), ErrTerminal: isTerminal(c.err),
		Now: time.Now, Zone: time.Local, Couriers: []*cobra.Command{explainCommand(), presetsCommand()},
	})...)
	couriers := c.courierCommands()
	root.AddCommand(couriers.sign(), couriers.send(), loadtest.Command(c.benchDeps()))
	usageArgs(root)
	addCompletions(root)
	return root
}

// flagFault makes an error of the flag parser one of usage, and says which flag may be
// meant where there is none of that name, and what a flag takes.
func flagFault(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var flags []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { flags = append(flags, f.Name) })
		err = fmt.Errorf("%w%s", err, config.DidYouMean(unknown.GetSpecifiedName(), flags))
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if kind := flagKinds[invalid.GetFlag().Value.Type()]; kind != "" {
			err = fmt.Errorf("--%s %q is not %s", invalid.GetFlag().Name, invalid.GetValue(), kind)
		}
	}
	return usage{err}
}

// flagKinds say what a flag of a type takes, where the parser says it in its own terms.
var flagKinds = map[string]string{
	"int": "a whole number", "uint64": "a whole number, 0 or more", "float64": "a number",
	"duration": "a duration such as 1m30s", "bool": "true or false",
}

// setColor reads the flags about colours.
func (c *cli) setColor(cmd *cobra.Command, _ []string) error {
	word, err := cmd.Flags().GetString("color")
	if never, _ := cmd.Flags().GetBool("no-color"); never {
		word = "never"
	}
	if err == nil {
		err = c.screen.SetColor(word)
	}
	if err != nil {
		return usage{err}
	}
	return nil
}

func names(commands []*cobra.Command) (all []string) {
	for _, cmd := range commands {
		all = append(all, cmd.Name())
	}
	return all
}

// courierCommands returns the commands that act as a courier: sign and send.
func (c *cli) courierCommands() *courierCommands {
	return &courierCommands{
		target:   target,
		progress: func(verb string, total int) progress { return c.progress(verb, total) },
		in:       c.in, out: c.out, err: c.err, now: time.Now,
	}
}

func (c *cli) progress(verb string, total int) *terminal.Progress {
	return terminal.NewProgress(terminal.ProgressConfig{Out: c.err, Terminal: isTerminal(c.err), Verb: verb, Total: total, Now: time.Now})
}

// usageArgs makes every complaint about arguments, of every command below, an
// error of usage.
func usageArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			var coded interface{ ExitCode() int }
			if err != nil && !errors.As(err, &coded) {
				given := "1 argument was given"
				if len(args) != 1 {
					given = fmt.Sprintf("%d arguments were given", len(args))
				}
				return usage{fmt.Errorf("usage is `%s %s`; %s", cmd.Parent().CommandPath(), cmd.Use, given)}
			}
			return err
		}
	}
	for _, sub := range cmd.Commands() {
		usageArgs(sub)
	}
}

func (c *cli) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs, Example: "  appliance version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON, err := cmd.Flags().GetBool("json"); asJSON || err != nil {
				return errors.Join(err, terminal.PrintJSON(c.out, map[string]string{"version": c.version, "go": runtime.Version()}))
			}
			fmt.Fprintln(c.out, c.version)
			return nil
		},
	}
	cmd.Flags().Bool("json", false, "print JSON")
	return cmd
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
