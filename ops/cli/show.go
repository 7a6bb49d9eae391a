package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// askCommand completes a command that asks one thing and shows the answer.
func askCommand[T any](c *commands, cmd *cobra.Command, ask func(api *client.Client, ctx context.Context) (T, error), show func(T) error) *cobra.Command {
	return askWithin(c, askTimeout, cmd, ask, show)
}

// askWithin is askCommand with a bound on the answer.
func askWithin[T any](c *commands, timeout time.Duration, cmd *cobra.Command,
	ask func(api *client.Client, ctx context.Context) (T, error), show func(T) error,
) *cobra.Command {
	cmd.Args = cobra.NoArgs
	asJSON := jsonFlag(cmd)
	return c.runWithin(cmd, &timeout, func(cmd *cobra.Command, api *client.Client, _ []string) error {
		thing, err := ask(api, cmd.Context())
		switch {
		case err != nil:
			return err
		case *asJSON:
			return terminal.PrintJSON(c.Out, thing)
		default:
			return show(thing)
		}
	})
}

// showCommand is askCommand for the one thing of a name.
func showCommand[T any](c *commands, cmd *cobra.Command,
	ask func(api *client.Client, ctx context.Context, name string) (T, error), show func(T) error,
) *cobra.Command {
	askCommand(c, cmd, func(api *client.Client, ctx context.Context) (T, error) {
		return ask(api, ctx, cmd.Flags().Arg(0))
	}, show)
	cmd.Args = cobra.ExactArgs(1)
	return cmd
}

// showOfCourier is showCommand for names that several couriers may use.
func showOfCourier[T any](c *commands, cmd *cobra.Command,
	ask func(api *client.Client, ctx context.Context, name, courier string) (T, error), show func(T) error,
) *cobra.Command {
	courier := cmd.Flags().String("courier", "", "the courier it belongs to, where several use the same name")
	return showCommand(c, cmd, func(api *client.Client, ctx context.Context, name string) (T, error) {
		thing, err := ask(api, ctx, name, *courier)
		return thing, withHint(err, ops.Ambiguous, "add --courier")
	}, show)
}

// withHint adds to a refusal with this code what to do about it here.
func withHint(err error, code event.Code, hint string) error {
	if p, ok := errors.AsType[*ops.Problem](err); ok && p.Code == code {
		return fmt.Errorf("%w: %s", p, hint)
	}
	return err
}

// maxShownBody is how much of a body is shown to people; --json has all of it.
const maxShownBody = 4 << 10

// bodyText returns a body for people: JSON indented, a bounded part of it, and
// escaped.
func bodyText(body []byte) string {
	shown := body
	var indented bytes.Buffer
	if json.Indent(&indented, body, "", "  ") == nil {
		shown = indented.Bytes()
	}
	more := ""
	if len(shown) > maxShownBody {
		shown = shown[:maxShownBody]
		more = fmt.Sprintf("\n… the body has %d bytes, --json shows them all", len(body))
	}
	return terminal.EscapeLines(string(shown)) + more
}
