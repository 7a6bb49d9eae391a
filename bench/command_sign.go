package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func (c *commands) sign() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign [FILE|-]",
		Short: "Print what proves a body: its headers, or the whole request",
		Long: "Print the headers that prove a body, read from FILE or from standard input.\n\n" +
			"Some couriers prove themselves by the address's query, or by members of the body\n" +
			"itself. Headers alone are no proof then, and standard error says so; --curl and\n" +
			"--json print all that has to be sent. --json is one object: url (the whole address,\n" +
			"query included), headers, query (what the proof added to the address, encoded, or\n" +
			"empty) and body, as a text, or as bodyBase64 when it is not UTF-8.",
		Example: "  appliance sign event.json --curl\n" +
			"  appliance sign event.json | curl -H @- --data-binary @event.json http://127.0.0.1:8080/v1/events/courier\n" +
			"  appliance sign order.json --courier shop --header X-Shopify-Event-Id=evt_1 --curl",
		Args: cobra.MaximumNArgs(1),
	}
	var flags signFlags
	c.addSignFlags(cmd, &flags)
	asJSON := cmd.Flags().Bool("json", false, "print the whole request as a JSON object")
	asCurl := cmd.Flags().Bool("curl", false, "print a curl line that posts the body, for pasting")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *asJSON && *asCurl {
			return usageError("--json or --curl, not both")
		}
		voice, err := c.voice(cmd, flags)
		if err != nil {
			return err
		}
		body, err := c.readBody(args)
		if err != nil {
			return err
		}
		request, err := voice.Sign(body, voice.now())
		if err != nil {
			return fmt.Errorf("courier %s: %w", voice.courier, err)
		}
		switch {
		case *asCurl:
			_, err = fmt.Fprintln(c.Out, CurlLine(request))
		case *asJSON:
			err = request.printJSON(c.Out)
		default:
			err = request.printHeaders(c.Out, c.Err)
		}
		return err
	}
	return cmd
}

func (c *commands) readBody(args []string) ([]byte, error) {
	name := "-"
	if len(args) > 0 {
		name = args[0]
	}
	in, err := c.open(name)
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

// open opens a file, or standard input for "-".
func (c *commands) open(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(c.In), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	return f, nil
}

// printHeaders prints the headers, and says what else the proof needs.
func (r *Request) printHeaders(out, note io.Writer) error {
	for _, h := range r.Headers {
		if _, err := fmt.Fprintf(out, "%s: %s\n", h.Name, h.Value); err != nil {
			return err
		}
	}
	if r.Query != "" {
		_, _ = fmt.Fprintf(note, "The address's query is part of the proof: post to %s\n", r.URL)
	}
	if r.Rewritten {
		_, _ = fmt.Fprintln(note, "The body is part of the proof: send the one that --curl or --json prints.")
	}
	return nil
}

// printJSON prints everything that has to be sent.
func (r *Request) printJSON(out io.Writer) error {
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
