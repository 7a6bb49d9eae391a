package main

import (
	"cmp"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
	adminapi "github.com/fincart/courier-gateway/ops/client"
)

// flagKeys are the flags that stand for a key of the configuration.
var flagKeys = map[string]string{
	"data-dir":     "data_dir",
	"listen":       "ingest.listen",
	"admin-listen": "admin.listen",
	"role":         "role",
}

// load reads the configuration that a command line asks for. Keys that do not
// exist and values that do not fit are errors.
func load(cmd *cobra.Command) (config.Loaded, error) {
	l, err := read(cmd, "")
	if err == nil {
		err = l.Err()
	}
	return l, err
}

// loadParts reads the configuration for a command that needs only what is below these
// keys: mistakes elsewhere do not matter to it.
func loadParts(cmd *cobra.Command, keys ...string) (config.Loaded, error) {
	l, err := read(cmd, "")
	if err != nil {
		return l, err
	}
	return l, l.Err(keys...)
}

// read reads the configuration that a command line asks for, with its faults in
// it. A file that was found where none was named is named by used.
func read(cmd *cobra.Command, used string) (config.Loaded, error) {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return config.Loaded{}, err
	}
	set := map[string]any{}
	for name, key := range flagKeys {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			set[key] = f.Value.String()
		}
	}
	return config.Load(cmp.Or(path, used), set)
}

// findAdmin finds the running appliance for the operators' commands. A token that can't be
// read is left out: the probes need none.
func findAdmin(cmd *cobra.Command) (adminapi.Config, error) {
	asked, err := askedOf(cmd)
	if err != nil {
		return adminapi.Config{}, err
	}
	return reach(cmd, asked), nil
}

// findTarget finds the appliance of a load test, which may be at another address and on
// another data directory than the flags say.
func findTarget(cmd *cobra.Command, address, dataDir string) (string, string, error) {
	asked, err := askedOf(cmd)
	if err != nil {
		return "", "", err
	}
	asked.Listen, asked.DataDir = cmp.Or(address, asked.Listen), cmp.Or(dataDir, asked.DataDir)
	to := reach(cmd, asked)
	return to.Address, to.Token, nil
}

// reach returns how to reach what a command asks for.
func reach(cmd *cobra.Command, asked config.Asked) adminapi.Config {
	cfg := config.ReadClient(asked)
	to := adminapi.Config{Address: cfg.Address, Token: cfg.Bearer(), CertFile: cfg.CertFile}
	for _, warning := range cfg.Warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "appliance: warning: %s\n", warning)
	}
	return to
}

// askedOf reads what a command line says of the appliance that runs.
func askedOf(cmd *cobra.Command) (asked config.Asked, err error) {
	for name, to := range map[string]*string{"config": &asked.File, "admin-listen": &asked.Listen, "data-dir": &asked.DataDir} {
		if *to, err = cmd.Flags().GetString(name); err != nil {
			return asked, err
		}
	}
	return asked, nil
}

// target finds the courier that a command speaks as, with its first secret, and
// where the appliance listens. An empty name asks for the default courier.
func target(cmd *cobra.Command, name string) (bench.Target, error) {
	l, err := loadParts(cmd, "couriers", "ingest", "data_dir")
	if err != nil {
		return bench.Target{}, err
	}
	cfg := l.WithDemo()
	if name == "" {
		name = cfg.DefaultCourier()
	}
	courier, ok := cfg.Couriers[name]
	if !ok && name == "" {
		return bench.Target{}, usage{fmt.Errorf("there is no default courier; give --courier with one of %v", cfg.CourierNames())}
	}
	if !ok {
		return bench.Target{}, notFound{fmt.Errorf("there is no courier %q%s: give --courier with one of %v", name, config.DidYouMean(name, cfg.CourierNames()), cfg.CourierNames())}
	}
	settings, err := cfg.Signing(name, jwks.At)
	if err != nil {
		if cfg.IsDemo() {
			err = fmt.Errorf("%w\nno couriers are configured, and the demo courier's secret is made by the first `appliance serve`", err)
		}
		return bench.Target{}, err
	}
	if err := refuseToShow(cmd, l.File, name, settings); err != nil {
		return bench.Target{}, err
	}
	return bench.Target{Courier: name, URL: publicURL(cfg.Ingest, nil), Signature: settings, Mapped: !courier.Canonical(), Preset: courier.Preset}, nil
}

// refuseToShow returns an error when a request would show the courier's secret itself, and
// only a file that was found in the working directory says which secret that is and where
// it goes: somebody else may have put it there.
func refuseToShow(cmd *cobra.Command, file, name string, settings signature.Config) error {
	asked := os.Getenv(config.EnvConfig)
	for _, flag := range []string{"config", "url"} {
		if f := cmd.Flags().Lookup(flag); f != nil {
			asked += f.Value.String()
		}
	}
	if file == "" || asked != "" {
		return nil
	}
	scheme, err := bench.NewScheme(settings)
	shows := false
	if err == nil { // otherwise the command can't sign, and says why
		from, _ := scheme.Credential()
		shows = from != ""
	}
	if !shows {
		return nil
	}
	return usage{fmt.Errorf("courier %s shows its secret in each request, and only %s in the working directory says which secret, and where it goes: if this file is yours, name it by --config %s",
		name, file, file)}
}
