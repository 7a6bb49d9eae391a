package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/bench"
)

// courierCommands are sign and send, which act as a courier does.
type courierCommands struct {
	target   bench.FindTarget
	progress func(verb string, total int) progress
	in       io.Reader
	out, err io.Writer
	now      func() time.Time
}

// progress shows how far a long command has come.
type progress interface {
	Step(ok bool)      // one item is dealt with
	Print(line string) // a line of its own, on standard error
	Clear()            // makes way on the terminal until the next step
}

func (c *courierCommands) sign() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign [FILE|-]",
		Short: "Sign a body: print its headers, or the whole request",
		Long: "Print the headers that sign a body, read from FILE or from standard input.\n\n" +
			"Some couriers sign by the address's query, or by members of the body itself.\n" +
			"Headers alone are not enough then, and standard error says so; --curl and --json\n" +
			"print all that has to be sent. --json is one object: url (the whole address, query\n" +
			"included), headers, query (what the signature added to the address, encoded, or\n" +
			"empty) and body, as a text, or as bodyBase64 when it is not UTF-8.",
		Example: "  appliance sign event.json --curl\n" +
			"  appliance sign event.json | curl -H @- --data-binary @event.json http://127.0.0.1:8080/v1/events/courier\n" +
			"  appliance sign order.json --courier shop --header X-Shopify-Event-Id=evt_1 --curl",
		Args: cobra.MaximumNArgs(1),
	}
	var flags bench.SigningFlags
	flags.Add(cmd, c.target)
	asJSON := cmd.Flags().Bool("json", false, "print the whole request as a JSON object")
	asCurl := cmd.Flags().Bool("curl", false, "print a curl line that posts the body, for pasting")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *asJSON && *asCurl {
			return bench.UsageErrorf("--json or --curl, not both")
		}
		courier, err := flags.Courier(cmd, c.target, c.now)
		if err != nil {
			return err
		}
		body, err := c.readBody(args)
		if err != nil {
			return err
		}
		request, err := courier.Sign(body, courier.Now())
		if err != nil {
			return fmt.Errorf("courier %s: %w", courier.Name, err)
		}
		switch {
		case *asCurl:
			_, err = fmt.Fprintln(c.out, bench.CurlLine(request))
		case *asJSON:
			err = printRequest(c.out, &request)
		default:
			err = printHeaders(c.out, c.err, &request)
		}
		return err
	}
	return cmd
}

func (c *courierCommands) readBody(args []string) ([]byte, error) {
	name := "-"
	if len(args) > 0 {
		name = args[0]
	}
	in, err := bench.Open(name, c.in)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	body, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	return body, nil
}

// printHeaders prints the headers, and says what else the signature needs.
func printHeaders(out, errOut io.Writer, r *bench.Request) error {
	for _, h := range r.Headers {
		if _, err := fmt.Fprintf(out, "%s: %s\n", h.Name, h.Value); err != nil {
			return err
		}
	}
	if r.Query != "" {
		_, _ = fmt.Fprintf(errOut, "The address's query is part of the signature: post to %s\n", r.URL)
	}
	if r.Rewritten {
		_, _ = fmt.Fprintln(errOut, "The body is part of the signature: send the one that --curl or --json prints.")
	}
	return nil
}

// printRequest prints everything that has to be sent, as JSON.
func printRequest(out io.Writer, r *bench.Request) error {
	shown := struct {
		URL        string            `json:"url"`
		Headers    map[string]string `json:"headers"`
		Query      string            `json:"query"`
		Body       *string           `json:"body,omitempty"`
		BodyBase64 []byte            `json:"bodyBase64,omitempty"`
	}{URL: r.URL, Headers: make(map[string]string, len(r.Headers)), Query: r.Query}
	for _, h := range r.Headers {
		shown.Headers[h.Name] = h.Value
	}
	if text := string(r.Body); utf8.ValidString(text) {
		shown.Body = &text
	} else {
		shown.BodyBase64 = r.Body
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(shown)
}
