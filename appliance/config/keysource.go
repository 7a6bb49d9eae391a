package config

import (
	"time"

	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// How often public keys are loaded, and for how long they count when they no
// longer can be.
const (
	keysEvery  = time.Hour
	keysRetry  = 10 * time.Second
	keysMaxAge = 24 * time.Hour
)

// NewKeySource returns a source of the public keys at an address, with none in it.
func NewKeySource(address string) (*jwks.Source, error) {
	load, err := jwks.Loader(address)
	if err != nil {
		return nil, err
	}
	return jwks.NewSource(jwks.Config{
		Load: load, Every: keysEvery, Retry: keysRetry, MaxAge: keysMaxAge, Now: time.Now,
	})
}
