package catalog

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
)

// Field is one key of a configuration struct, as its tags describe it. The same description serves the YAML file, the
// command line's flags, the help text and the reference in the README, so that they cannot drift apart.
//
//	Interval time.Duration `yaml:"interval" help:"time between two packets" min:"1ms" max:"1h"`
//
// Tags: yaml (the key; required for a field to count), help, min and max (inclusive, in the field's own syntax),
// oneof (the accepted words, comma separated), required:"true".
type Field struct {
	Key      string
	Help     string
	Min, Max string
	OneOf    []string
	Required bool

	value reflect.Value
}

// Fields lists the keys of the struct that config points to, in order, embedded structs included where they stand.
// It panics when config is no pointer to a struct.
func Fields(config any) []Field {
	v := reflect.ValueOf(config)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("catalog: Fields(%T): want a pointer to a struct", config))
	}
	return fields(v.Elem())
}

func fields(v reflect.Value) []Field {
	var list []Field
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		if sf.Anonymous && sf.Type.Kind() == reflect.Struct {
			list = append(list, fields(v.Field(i))...)
			continue
		}
		key := sf.Tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		f := Field{
			Key: key, Help: sf.Tag.Get("help"), Min: sf.Tag.Get("min"), Max: sf.Tag.Get("max"),
			Required: sf.Tag.Get("required") == "true", value: v.Field(i),
		}
		if words := sf.Tag.Get("oneof"); words != "" {
			f.OneOf = strings.Split(words, ",")
		}
		list = append(list, f)
	}
	return list
}

// Value is the settable value behind the field.
func (f Field) Value() reflect.Value { return f.value }

// IsScalar says whether the field is written as one word or number, and so can be a flag.
func (f Field) IsScalar() bool {
	if _, ok := reflect.TypeAssert[encoding.TextUnmarshaler](f.value.Addr()); ok {
		return true
	}
	switch f.value.Kind() {
	case reflect.Bool, reflect.String, reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float64:
		return true
	default:
		return false
	}
}

// IsBool says whether the field is a switch.
func (f Field) IsBool() bool { return f.value.Kind() == reflect.Bool }

// IsZero says whether the field still has its type's zero value.
func (f Field) IsZero() bool { return f.value.IsZero() }

// String is the field's present value in the syntax that Set reads; "" where the field is no scalar.
func (f Field) String() string {
	if !f.value.IsValid() || !f.IsScalar() {
		return ""
	}
	return format(f.value)
}

// Set parses text into the field and checks it against the field's bounds. On error the field keeps its value.
func (f Field) Set(text string) error {
	fresh := reflect.New(f.value.Type()).Elem()
	if err := Parse(fresh, text); err != nil {
		return err
	}
	if err := f.check(fresh); err != nil {
		return err
	}
	f.value.Set(fresh)
	return nil
}

func (f Field) check(v reflect.Value) error {
	if f.Min != "" && less(v, f.bound(f.Min)) {
		return fmt.Errorf("%s is below the minimum of %s", format(v), f.Min)
	}
	if f.Max != "" && less(f.bound(f.Max), v) {
		return fmt.Errorf("%s is above the maximum of %s", format(v), f.Max)
	}
	if len(f.OneOf) == 0 {
		return nil
	}
	got := format(v)
	if slices.Contains(f.OneOf, got) {
		return nil
	}
	hint := ""
	if near := Nearest(got, f.OneOf); near != "" {
		hint = fmt.Sprintf(" (did you mean %q?)", near)
	}
	return fmt.Errorf("%q is not one of %s%s", got, strings.Join(f.OneOf, ", "), hint)
}

// bound parses a min or max tag, which is part of the program: a bad one is a panic.
func (f Field) bound(text string) reflect.Value {
	v := reflect.New(f.value.Type()).Elem()
	if err := Parse(v, text); err != nil {
		panic(fmt.Sprintf("catalog: field %s: bound %q: %v", f.Key, text, err))
	}
	return v
}

// Parse reads text into a settable scalar value. The error quotes the text and says what was wanted.
func Parse(v reflect.Value, text string) error {
	if d, ok := reflect.TypeAssert[*time.Duration](v.Addr()); ok {
		parsed, err := unit.ParseDuration(text)
		*d = parsed
		return err
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
		v.SetBool(b)
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		v.SetInt(n)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a whole number of 0 or more", text)
		}
		v.SetUint(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n != n || n-n != 0 {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(n)
	default:
		panic(fmt.Sprintf("catalog: a %s cannot be read from text", v.Type()))
	}
	return nil
}

func format(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return unit.FormatDuration(x)
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		if err != nil {
			return ""
		}
		return string(text)
	}
	return fmt.Sprint(v.Interface())
}

func less(a, b reflect.Value) bool {
	switch {
	case a.CanInt():
		return a.Int() < b.Int()
	case a.CanUint():
		return a.Uint() < b.Uint()
	case a.CanFloat():
		return a.Float() < b.Float()
	default:
		panic(fmt.Sprintf("catalog: a %s has no order", a.Type()))
	}
}
