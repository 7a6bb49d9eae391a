package bench

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// Target is a courier to sign as, and the appliance to send to.
type Target struct {
	Courier string // the name as configured, also when none was asked for
	URL     string // of the public listener, such as http://127.0.0.1:8080
	// Signature is how the courier signs: by the first secret that is valid, or
	// by the private key. The public keys of a JWKS need not be loaded for that.
	Signature signature.Config
	// Mapped says that the courier's payload is its own and not the canonical one,
	// so that no event can be made up for it.
	Mapped  bool
	Preset  string             // that the courier is made of, "" for none
	Headers []signature.Header // sent too, unless a flag gives them another value
}

// FindTarget finds a courier's settings and the appliance's address; an empty name
// means the default courier.
type FindTarget func(cmd *cobra.Command, courier string) (Target, error)

// Endpoint returns the URL that takes the courier's events: base as it is when
// it has a path, and with the courier's own path when not.
func Endpoint(base, courier string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%q is no http address: set --url to http://host:port", base)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/events/courier/" + courier
	}
	return u.String(), nil
}

// SigningFlags say which courier signs, when and how.
type SigningFlags struct {
	courier, timestamp, algorithm, url string
	headers                            []string
	key                                KeyFlags
}

// Add adds the flags to a command; find is called to complete them.
func (f *SigningFlags) Add(cmd *cobra.Command, find FindTarget) {
	fs := cmd.Flags()
	fs.StringVar(&f.courier, "courier", "", "sign as this courier (default: the default courier)")
	fs.StringVar(&f.timestamp, "timestamp", "", "sign by this time, in Unix seconds or RFC 3339 (default: now)")
	fs.StringVar(&f.algorithm, "algorithm", "", "one that the courier's scheme knows (default: the courier's first)")
	fs.StringVar(&f.url, "url", "", "where the appliance is, or the whole address of its endpoint (default: as configured)")
	fs.StringArrayVar(&f.headers, "header", nil, "NAME=VALUE of a header to send, too, such as an event's id; may be repeated")
	f.key.Add(cmd)
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("algorithm", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		target, err := find(cmd, f.courier)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, a := range signature.AlgorithmsOf(target.Signature.Scheme) {
			names = append(names, string(a))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// KeyFlags say by which private key to sign, for couriers that publish the other
// half.
type KeyFlags struct{ file, id string }

// Add adds the flags to a command.
func (f *KeyFlags) Add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "private-key", "", "file of the courier's private key, PEM or whsk_, for schemes that sign by one")
	cmd.Flags().StringVar(&f.id, "key-id", "", "with --private-key: its name in the courier's key set")
}

// Apply makes a courier sign by the private key, if one is given.
func (f *KeyFlags) Apply(c *signature.Config) error {
	if f.file == "" {
		if f.id != "" {
			return UsageErrorf("--key-id needs --private-key")
		}
		return nil
	}
	text, err := os.ReadFile(f.file)
	if err != nil {
		return fmt.Errorf("read the private key: %w", err)
	}
	key, err := signature.ParsePrivateKey(text)
	if err != nil {
		return fmt.Errorf("--private-key %s: %w", f.file, err)
	}
	c.PrivateKey = &signature.PrivateKey{ID: f.id, Key: key}
	return nil
}

// Courier is a courier that is ready to sign.
type Courier struct {
	*Signer
	Name   string
	Mapped bool             // see [Target]
	Now    func() time.Time // the time to sign by
}

// Courier returns the courier that the flags ask for.
func (f *SigningFlags) Courier(cmd *cobra.Command, find FindTarget, now func() time.Time) (*Courier, error) {
	now, err := f.clock(now)
	if err != nil {
		return nil, err
	}
	headers, err := parseHeaders(f.headers)
	if err != nil {
		return nil, err
	}
	target, err := find(cmd, f.courier)
	if err != nil {
		return nil, err
	}
	if f.url != "" {
		target.URL = f.url
	}
	if err := target.chooseAlgorithm(signature.Algorithm(f.algorithm)); err != nil {
		return nil, err
	}
	if err := f.key.Apply(&target.Signature); err != nil {
		return nil, err
	}
	scheme, err := NewScheme(target.Signature)
	if err != nil {
		return nil, fmt.Errorf("courier %s: %w", target.Courier, err)
	}
	where, err := Endpoint(target.URL, target.Courier)
	if err != nil {
		return nil, UsageErrorf("%w", err)
	}
	for _, h := range target.Headers {
		if !hasHeader(headers, h.Name) {
			headers = append(headers, h)
		}
	}
	signer, err := NewSigner(SignerConfig{URL: where, Scheme: scheme, Headers: headers})
	if err != nil {
		return nil, err
	}
	return &Courier{Signer: signer, Name: target.Courier, Mapped: target.Mapped, Now: now}, nil
}

// chooseAlgorithm makes the courier sign by an algorithm of its scheme; "" leaves its
// first.
func (t *Target) chooseAlgorithm(a signature.Algorithm) error {
	known := signature.AlgorithmsOf(t.Signature.Scheme)
	switch {
	case a == "":
		return nil
	case len(known) == 0:
		return UsageErrorf("--algorithm: courier %s signs by scheme %s, which has none to choose from", t.Courier, t.Signature.Scheme)
	case !slices.Contains(known, a):
		return UsageErrorf("--algorithm %q is none of %v, which scheme %s of courier %s knows", a, known, t.Signature.Scheme, t.Courier)
	}
	prefer(&t.Signature, a)
	return nil
}

// clock returns the clock to sign by: a fixed time when one is given.
func (f *SigningFlags) clock(now func() time.Time) (func() time.Time, error) {
	given := f.timestamp
	if given == "" {
		return now, nil
	}
	at, err := time.Parse(time.RFC3339, given)
	if seconds, notSeconds := strconv.ParseInt(given, 10, 64); notSeconds == nil {
		at, err = time.Unix(seconds, 0), nil
	}
	if err != nil {
		return nil, UsageErrorf("--timestamp %q is neither Unix seconds nor RFC 3339", given)
	}
	return func() time.Time { return at }, nil
}

// framing are the headers that an HTTP client writes by itself.
var framing = []string{"connection", "content-length", "transfer-encoding"}

// parseHeaders reads headers written as NAME=VALUE, each of them once.
func parseHeaders(texts []string) (headers []signature.Header, err error) {
	for _, text := range texts {
		name, value, _ := strings.Cut(text, "=")
		h := signature.Header{Name: name, Value: strings.TrimSpace(value)}
		switch lower := strings.ToLower(name); {
		case name == "" || strings.Trim(lower, "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~") != "" || h.Value == "":
			return nil, UsageErrorf("--header %q is not NAME=VALUE", text)
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return nil, UsageErrorf("--header %s has a control character in its value", name)
		case slices.Contains(framing, lower):
			return nil, UsageErrorf("--header %s can't be given, it follows from the body", name)
		case hasHeader(headers, name):
			return nil, UsageErrorf("--header %s is given twice", name)
		}
		headers = append(headers, h)
	}
	return headers, nil
}
