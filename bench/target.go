package bench

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// Target is a courier to speak as, and the appliance to speak to.
type Target struct {
	Courier string // the name as configured, also when none was asked for
	URL     string // of the public listener, such as http://127.0.0.1:8080
	// Signature is how the courier signs: by the first secret that is valid, or
	// by the private key. Nobody has to load the public keys of a JWKS for that.
	Signature signature.Config
	// Mapped says that the courier's payload is its own and not the canonical one,
	// so that no event can be made up for it.
	Mapped bool
}

// endpoint returns the URL that takes the courier's events: base as it is when
// it has a path, and with the courier's own path when not.
func endpoint(base, courier string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%q is no http address: set --url to http://host:port", base)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/events/courier/" + courier
	}
	return u.String(), nil
}
