package bench

import (
	"fmt"
	"net/url"
	"strings"

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
	Mapped bool
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
