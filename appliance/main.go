// The appliance receives couriers' signed webhooks, queues them on disk, and
// applies each to the merchant's shipments exactly once.
//
// This package holds the commands and handles signals. Package config reads the
// settings, package app runs an appliance.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"
	_ "time/tzdata" // for payloads with local times, where the system has no zones

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fincart/courier-gateway/appliance/config"
	loadtest "github.com/fincart/courier-gateway/bench/load"
	operators "github.com/fincart/courier-gateway/ops/cli"
	"github.com/fincart/courier-gateway/ops/terminal"
	"github.com/fincart/courier-gateway/process"
)

// version is set at build time by -ldflags "-X main.version=v1.2.3".
var version string

// Exit codes; a threshold that was missed is 3, see package bench/load.
const (
	exitFailed = 1
	exitUsage  = 2
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
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(c.err, "appliance: %s\n", terminal.EscapeLines(err.Error()))
	code := exitFailed
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		code = coded.ExitCode()
	}
	if code == exitUsage {
		fmt.Fprintf(c.err, "Try: %s --help\n", cmd.CommandPath())
	}
	return code
}

// cli is what every command shares.
type cli struct {
	in        io.Reader
	out, err  io.Writer
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
		// Errors are printed once, by run.
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage{fmt.Errorf("there is no command %q", args[0])}
			}
			return cmd.Help()
		},
	}
	flags := root.PersistentFlags()
	flags.String("config", "", "configuration file (default: "+config.DefaultFile+" if it is there)")
	flags.String("data-dir", "", "where everything is kept (data_dir)")
	flags.String("admin-listen", "", "address of the operators' listener (admin.listen)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage{err} })
	root.AddCommand(c.serve(), configCommand(), c.versionCommand())
	root.AddCommand(operators.Commands(operators.Deps{
		Admin: findAdmin, In: c.in, Out: c.out, Err: c.err,
		InTerminal: isTerminal(c.in), ErrTerminal: isTerminal(c.err),
		Now: time.Now, Zone: time.Local, Couriers: []*cobra.Command{explainCommand(), presetsCommand()},
	})...)
	couriers := c.courierCommands()
	root.AddCommand(couriers.sign(), couriers.send(), loadtest.Command(c.benchDeps()))
	usageArgs(root)
	return root
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
				return usage{err}
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
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON, err := cmd.Flags().GetBool("json"); asJSON || err != nil {
				return errors.Join(err, json.NewEncoder(c.out).Encode(map[string]string{"version": c.version, "go": runtime.Version()}))
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
