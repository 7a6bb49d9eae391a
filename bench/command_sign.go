package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/signature"
)

func (c *commands) sign() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign [FILE|-]",
		Short: "Print the headers that prove a body",
		Long:  "Print the headers that prove a body, read from FILE or from standard input.",
		Example: "  appliance sign event.json --curl\n" +
			"  appliance sign event.json | curl -H @- --data-binary @event.json http://127.0.0.1:8080/v1/events/courier",
		Args: cobra.MaximumNArgs(1),
	}
	var flags signFlags
	flags.add(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print as a JSON object of names and values")
	asCurl := cmd.Flags().Bool("curl", false, "print a curl line that posts the body, for pasting")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *asJSON && *asCurl {
			return usageError("--json or --curl, not both")
		}
		signer, err := c.signer(cmd, flags)
		if err != nil {
			return err
		}
		body, err := c.readBody(args)
		if err != nil {
			return err
		}
		headers := Headers(signer.scheme, body, signer.now())
		switch {
		case *asCurl:
			_, err = fmt.Fprintln(c.Out, CurlLine(signer.url, headers, body))
		case *asJSON:
			err = printHeadersJSON(c.Out, headers)
		default:
			err = printHeaders(c.Out, headers)
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

func printHeaders(out io.Writer, headers []signature.Header) error {
	for _, h := range headers {
		if _, err := fmt.Fprintf(out, "%s: %s\n", h.Name, h.Value); err != nil {
			return err
		}
	}
	return nil
}

func printHeadersJSON(out io.Writer, headers []signature.Header) error {
	byName := make(map[string]string, len(headers))
	for _, h := range headers {
		byName[h.Name] = h.Value
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(byName)
}
