package cli

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/configs/unit"
)

// flagValue makes a flag of a configuration key, so that both take the same words and the same bounds.
type flagValue struct{ field catalog.Field }

func (v flagValue) String() string { return v.field.String() }

func (v flagValue) Set(text string) error { return v.field.Set(text) }

// Type is the placeholder in the help text.
func (v flagValue) Type() string {
	switch v.field.Value().Interface().(type) {
	case unit.Bytes:
		return "size"
	case unit.Rate:
		return "rate"
	}
	switch name := v.field.Value().Type().String(); {
	case v.field.IsBool():
		return "bool"
	case strings.HasSuffix(name, "Duration"):
		return "duration"
	case v.field.Value().CanInt() || v.field.Value().CanUint() || v.field.Value().CanFloat():
		return "number"
	default:
		return "text"
	}
}

// addFlags offers every scalar key of a configuration struct as a flag, with its help and its default.
func addFlags(flags *pflag.FlagSet, config any) {
	for _, field := range catalog.Fields(config) {
		if !field.IsScalar() {
			continue
		}
		help := field.Help
		if len(field.OneOf) > 0 {
			help += " (" + strings.Join(field.OneOf, ", ") + ")"
		}
		f := flags.VarPF(flagValue{field}, strings.ReplaceAll(field.Key, "_", "-"), "", help)
		if field.IsBool() {
			f.NoOptDefVal = "true"
		}
		if field.IsZero() {
			f.DefValue = "" // "default 0" would only be noise
		}
	}
}
