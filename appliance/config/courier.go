package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/media"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
	"github.com/fincart/courier-gateway/process"
)

// Courier is one sender, as the configuration describes it: how it signs, what its
// payload looks like, how it is answered, and its limits. The settings of its preset are
// filled in when the configuration is loaded.
type Courier struct {
	Preset string `koanf:"preset"`
	Mode   string `koanf:"mode"`

	// How it signs. The keys are on one level with the others.
	signature.Config `koanf:",squash,flatten"`
	Tolerance        time.Duration   `koanf:"tolerance"` // both tolerances, where they are not set
	Secrets          []CourierSecret `koanf:"secrets,omitnested"`
	PrivateKey       Secret          `koanf:"private_key"` // for sign and send
	PrivateKeyID     string          `koanf:"private_key_id"`

	Event    payload.Mapping `koanf:"event"`     // its payload; none is the canonical body
	MaxAhead time.Duration   `koanf:"max_ahead"` // of its receipt, that an event's time is believed

	ContentTypes     []string `koanf:"content_types"`
	ContentEncodings []string `koanf:"content_encodings"`
	FormField        string   `koanf:"form_field"` // that has the JSON, of a form

	SuccessStatus      int               `koanf:"success_status"`
	SuccessBody        string            `koanf:"success_body"`
	SuccessContentType string            `koanf:"success_content_type"`
	SuccessHeaders     map[string]string `koanf:"success_headers"` // a value may be a reference, see [Secret]
	Handshake          ingest.Handshake  `koanf:"handshake"`
	Networks           []string          `koanf:"networks"`
	MaxBodyBytes       int               `koanf:"max_body_bytes"`
	RatePerSecond      float64           `koanf:"rate_per_second"`
	RateBurst          int               `koanf:"rate_burst"`
	MaxConcurrent      int               `koanf:"max_concurrent"`

	namer secretNamer // of its secrets, see [Config.namer]
}

// The modes of a courier.
const (
	modeEnforce = "enforce"
	ModeObserve = "observe"
)

// WithDefaults returns the courier with defaults for what it leaves out.
func (c Courier) WithDefaults() Courier {
	if c.Scheme == "" {
		c.Scheme = "gateway"
	}
	if c.Mode == "" {
		c.Mode = modeEnforce
	}
	if len(c.ContentTypes) == 0 {
		c.ContentTypes = media.Types(c.Scheme == "basic")
	}
	if len(c.ContentEncodings) == 0 {
		c.ContentEncodings = slices.Clone(media.Codings)
	}
	if c.FormField == "" {
		c.FormField = payload.DefaultFormField
	}
	if c.SuccessStatus == 0 {
		c.SuccessStatus = 202
	}
	if c.MaxAhead == 0 {
		c.MaxAhead = process.DefaultMaxAhead
	}
	if c.Tolerance == 0 && (c.TolerancePast == 0 || c.ToleranceFuture == 0) {
		c.Tolerance = c.defaultTolerance()
	}
	return c
}

// defaultTolerance is zero where what the courier signs has no time in it.
func (c Courier) defaultTolerance() time.Duration {
	switch {
	case c.Scheme == "jwt":
		return signature.TokenTolerance
	case slices.Contains([]string{"gateway", "gateway-body", "standard-webhooks", "svix"}, c.Scheme):
		return signature.DefaultTolerance
	case c.Timestamp.From != "" && c.Timestamp.From != "none":
		return signature.DefaultTolerance
	default:
		return 0
	}
}

// Canonical reports whether the courier posts the canonical body.
func (c Courier) Canonical() bool { return c.Event.Canonical() }

// validate adds what is wrong with a courier, except its secrets. Where its signatures
// are not verified, their settings are not checked.
func (c Courier) validate(f *faults, key, name string, verifies bool) {
	f.check(event.ValidCourier(name), key, "the name is not 1 to 63 characters of a-z, 0-9, - and _, starting with a letter or digit")
	f.oneOf(key+".mode", c.Mode, modeEnforce, ModeObserve)
	if verifies {
		c.validateSignature(f, key)
	}
	c.decoder(f, key)
	if verifies {
		c.ignoresWhatIsSigned(f, key)
	}
	c.prefixes(f, key)
	var wrong event.Faults
	media.New(c.ContentTypes, c.ContentEncodings, &wrong, key+".")
	c.Handshake.Check(&wrong, key+".handshake.")
	for name, value := range c.SuccessHeaders {
		ingest.Header{Name: name, Value: value}.Check(&wrong, key+".success_headers."+name)
	}
	for _, fault := range wrong {
		f.add(fault.Path, "%s", fault.Message)
	}
	f.check(c.SuccessStatus >= 200 && c.SuccessStatus <= 204, key+".success_status", "%d is not between 200 and 204", c.SuccessStatus)
	f.check(c.SuccessStatus != 204 || c.SuccessBody == "", key+".success_body", "can't go with success_status 204, which has no body")
	f.check(c.SuccessContentType == "" || c.SuccessBody != "", key+".success_content_type", "is set, but there is no success_body")
	unprintable := strings.ContainsFunc(c.SuccessContentType, func(r rune) bool { return r < ' ' || r > '~' })
	f.check(!unprintable, key+".success_content_type", "%q can't be in a header", c.SuccessContentType)
	f.check(c.MaxAhead >= 0, key+".max_ahead", "%v is negative", c.MaxAhead)
	f.check(c.MaxBodyBytes >= 0, key+".max_body_bytes", "%d is negative", c.MaxBodyBytes)
	f.check(c.RatePerSecond >= 0 && !math.IsInf(c.RatePerSecond, 1), key+".rate_per_second", "%g is no number from 0 up", c.RatePerSecond)
	f.check(c.RateBurst >= 0, key+".rate_burst", "%d is negative", c.RateBurst)
	f.check(c.RateBurst == 0 || c.RatePerSecond > 0, key+".rate_burst", "is set, but there is no rate_per_second")
	f.check(c.MaxConcurrent >= 0, key+".max_concurrent", "%d is negative", c.MaxConcurrent)
}

// validateSignature compiles the signature's settings with dummy secrets.
func (c Courier) validateSignature(f *faults, key string) {
	settings := c.SignatureSettings()
	for i := range c.Secrets {
		settings.Secrets = append(settings.Secrets, signature.Secret{ID: fmt.Sprint(i), Key: []byte("?")})
	}
	settings.Keys = c.publicKeys(f, key, jwks.At)
	_, err := signature.New(settings)
	c.addInvalid(f, key, err, func(path string) bool { return strings.HasPrefix(path, "secrets[") })
}

// SignatureSettings returns the signature's settings but for what has to be read or made:
// secrets and keys.
func (c Courier) SignatureSettings() signature.Config {
	s := c.Config
	if s.TolerancePast == 0 {
		s.TolerancePast = c.Tolerance
	}
	if s.ToleranceFuture == 0 {
		s.ToleranceFuture = c.Tolerance
	}
	return s
}

// addInvalid adds the faults of the signature's settings, but for those to skip.
func (c Courier) addInvalid(f *faults, key string, err error, skip func(path string) bool) {
	invalid, ok := errors.AsType[event.Faults](err)
	if err != nil && !ok {
		f.add(key, "%v", err)
	}
	for _, fault := range invalid {
		if skip(fault.Path) {
			continue
		}
		path := fault.Path
		if strings.HasPrefix(path, "secrets[") { // what it is there, is the secret itself here
			path = strings.TrimSuffix(path, ".key")
		}
		if c.Tolerance != 0 && strings.HasPrefix(path, "tolerance_") {
			path = "tolerance"
		}
		f.add(key+"."+path, "%s", fault.Message)
	}
}

// scheme compiles a courier's scheme with its secrets read; nil when it adds
// faults. Public keys come from keys.
func (c Courier) scheme(f *faults, key string, keys KeyMaker) *signature.Scheme {
	before := len(*f)
	settings := c.signing(f, key, keys)
	unread := len(*f) > before
	scheme, err := signature.New(settings)
	c.addInvalid(f, key, err, func(path string) bool { return unread && strings.HasPrefix(path, "secrets[") })
	if len(*f) > before {
		return nil
	}
	return scheme
}

// signing returns a courier's settings with its secrets and its private key read.
func (c Courier) signing(f *faults, key string, keys KeyMaker) signature.Config {
	s := c.SignatureSettings()
	for i, secret := range c.Secrets {
		value, err := secret.Secret.Resolve()
		if err != nil {
			f.add(fmt.Sprintf("%s.secrets[%d]", key, i), "%v", err)
			value = fmt.Appendf(nil, "unread %d", i)
		}
		if twin := slices.IndexFunc(s.Secrets, func(o signature.Secret) bool { return bytes.Equal(o.Key, value) }); twin >= 0 {
			f.add(fmt.Sprintf("%s.secrets[%d]", key, i), "is the same secret as secrets[%d]", twin)
		}
		s.Secrets = append(s.Secrets, signature.Secret{
			ID: c.namer.id(i, value), Key: value, NotBefore: secret.NotBefore, NotAfter: secret.NotAfter,
		})
	}
	s.Keys = c.publicKeys(f, key, keys)
	if c.PrivateKey.IsSet() {
		private, err := c.readPrivateKey()
		if err != nil {
			f.add(key+".private_key", "%v", err)
		}
		s.PrivateKey = private
	}
	return s
}

func (c Courier) readPrivateKey() (*signature.PrivateKey, error) {
	text, err := c.PrivateKey.Resolve()
	if err != nil {
		return nil, err
	}
	signer, err := signature.ParsePrivateKey(text)
	return &signature.PrivateKey{ID: c.PrivateKeyID, Key: signer}, err
}

// KeyMaker returns the source of the public keys at an address.
type KeyMaker func(address string) (*jwks.Source, error)

// publicKeys returns the courier's public keys, nil when it has none.
func (c Courier) publicKeys(f *faults, key string, keys KeyMaker) *jwks.Source {
	if c.JWKS == "" {
		return nil
	}
	source, err := keys(c.JWKS)
	if err != nil {
		f.add(key+".jwks", "%v", err)
	}
	return source
}

// answerHeaders returns the headers of the answers to the courier, with the values read
// that are references.
func (c Courier) answerHeaders(f *faults, key string) (all []ingest.Header) {
	for _, name := range slices.Sorted(maps.Keys(c.SuccessHeaders)) {
		one := ingest.Header{Name: name, Value: c.SuccessHeaders[name]}
		if strings.HasPrefix(one.Value, "env:") || strings.HasPrefix(one.Value, "file:") {
			text, err := Secret(one.Value).Resolve()
			if err != nil {
				f.add(key+".success_headers."+name, "%v", err)
			}
			one.Value = string(text)
		}
		all = append(all, one)
	}
	return all
}

// decoder compiles what reads the courier's payload; nil when it adds faults.
func (c Courier) decoder(f *faults, key string) *payload.Decoder {
	d, err := payload.NewDecoder(c.Event)
	faults, ok := errors.AsType[event.Faults](err)
	if err != nil && !ok {
		f.add(key+".event", "%v", err)
	}
	for _, fault := range faults {
		path := strings.TrimSuffix(key+".event."+fault.Path, ".$")
		f.add(path, "%s", fault.Message)
	}
	if d != nil {
		d = d.InFormField(c.FormField)
	}
	return d
}

// prefixes returns the networks from which the courier may post.
func (c Courier) prefixes(f *faults, key string) []netip.Prefix {
	return parseNetworks(f, key+".networks", c.Networks)
}

// parseNetworks reads networks and single addresses.
func parseNetworks(f *faults, key string, texts []string) []netip.Prefix {
	var all []netip.Prefix
	for i, text := range texts {
		p, err := netip.ParsePrefix(text)
		if a, single := netip.ParseAddr(text); single == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			f.add(fmt.Sprintf("%s[%d]", key, i), "%q is neither an address nor a network such as 192.0.2.0/24", text)
			continue
		}
		all = append(all, p.Masked())
	}
	return all
}

// placeIn finds the places that a template looks at.
var placeIn = regexp.MustCompile(`\{((?:"[^"]*"|[^"{}])+)\}`)

// unsigned returns the first place in templates that the courier's signature does not cover,
// as it is written there; "" for none, and where no message is signed at all.
func (c Courier) unsigned(templates ...string) string {
	binding := signature.BindingOf(c.SignatureSettings())
	if !binding.Body && len(binding.Members) == 0 {
		return ""
	}
	members := binding.Members
	if c.Timestamp.From == "json" && slices.Contains(c.Message, "timestamp") {
		members = append(slices.Clone(members), c.Timestamp.Names...)
	}
	for _, m := range placeIn.FindAllStringSubmatch(strings.Join(templates, " "), -1) {
		header, inHeader := strings.CutPrefix(m[1], "header:")
		place := strings.TrimPrefix(m[1], "$.")
		if inHeader && !slices.Contains(binding.Headers, strings.ToLower(header)) ||
			!inHeader && !binding.Body && !slices.ContainsFunc(members, func(member string) bool {
				rest, within := strings.CutPrefix(place, member)
				return within && (rest == "" || rest[0] == '.' || rest[0] == '[')
			}) {
			return m[0]
		}
	}
	return ""
}

// ignoresWhatIsSigned checks that nobody but the sender can have an event ignored: what a rule
// looks at is signed, or the member that keeps a body from being ignored is.
func (c Courier) ignoresWhatIsSigned(f *faults, key string) {
	for i, rule := range c.Event.Ignore {
		places := c.Event.Type
		switch {
		case rule.At != "":
			places = []string{rule.At}
		case len(places) == 0:
			places = []string{"{eventType}"} // of the canonical body
		}
		at := c.unsigned(places...)
		if at == "" || rule.Without != "" && c.unsigned(rule.Without) == "" {
			continue
		}
		f.add(fmt.Sprintf("%s.event.ignore[%d]", key, i), "looks at %s, which the signature does not cover: who can change it on the way can have an event ignored. "+
			"Set without to a member that is signed and that every event about a shipment has, as in {id}", at)
	}
}

// warnUnsignedID says so when what names the courier's events is not signed.
func (c Courier) warnUnsignedID(warn func(key, format string, args ...any), key string) {
	name, templates := "idempotency_key", c.Event.Key
	if len(templates) == 0 {
		name, templates = "event_id", c.Event.EventID
	}
	if len(templates) == 0 {
		name, templates = "idempotency_key", []string{"{idempotencyKey}"} // of the canonical body
	}
	if at := c.unsigned(templates...); at != "" {
		warn(key+".event."+name, "looks at %s, which the signature does not cover: a request that is repeated with something else there makes another event", at)
	}
}

// headerIn finds the headers that a template looks at.
var headerIn = regexp.MustCompile(`\{header:([^}]+)\}`)

// UnsignedID returns a header that identifies the courier's events although its
// requests are not verified by it; "" for none.
func (c Courier) UnsignedID(scheme *signature.Scheme) string {
	key := c.Event.Key
	if len(key) == 0 {
		key = c.Event.EventID
	}
	for _, m := range headerIn.FindAllStringSubmatch(strings.Join(key, " "), -1) {
		if name := strings.ToLower(m[1]); !slices.Contains(scheme.Headers(), name) {
			return name
		}
	}
	return ""
}
