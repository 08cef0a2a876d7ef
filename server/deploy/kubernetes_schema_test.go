package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// schema is the part of OpenAPI 3 that Kubernetes' own schemas and those of custom resources use. Another keyword is an error when a schema is read:
// a newer version cannot become laxer without notice.
type schema struct {
	Ref                  string             `json:"$ref"`
	AllOf                []*schema          `json:"allOf"`
	OneOf                []*schema          `json:"oneOf"`
	AnyOf                []*schema          `json:"anyOf"`
	Type                 string             `json:"type"`
	Format               string             `json:"format"`
	Properties           map[string]*schema `json:"properties"`
	AdditionalProperties *schema            `json:"additionalProperties"`
	Required             []string           `json:"required"`
	Items                *schema            `json:"items"`
	Enum                 []any              `json:"enum"`
	Pattern              string             `json:"pattern"`
	MinLength            int                `json:"minLength"`
	Minimum              *float64           `json:"minimum"`
	Maximum              *float64           `json:"maximum"`
	ListType             string             `json:"x-kubernetes-list-type"`
	ListMapKeys          []string           `json:"x-kubernetes-list-map-keys"`
	GroupVersionKind     []groupVersionKind `json:"x-kubernetes-group-version-kind"`

	// These say nothing about which values are right.
	Description   any `json:"description"`
	Default       any `json:"default"`
	IntOrString   any `json:"x-kubernetes-int-or-string"` // beside an anyOf that says it
	MapType       any `json:"x-kubernetes-map-type"`
	PatchMergeKey any `json:"x-kubernetes-patch-merge-key"`
	PatchStrategy any `json:"x-kubernetes-patch-strategy"`
	Unions        any `json:"x-kubernetes-unions"`
}

type groupVersionKind struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

// judge finds what an API server with --validate=strict would refuse: unknown fields, wrong types, missing fields, two entries of a list with one key.
// It does not know rules that are in no schema, such as the values of a policy in Kubernetes' own objects: .ci/kubernetes asks a real server.
type judge struct {
	named    map[string]*schema // what $ref names, without the prefix
	findings []string
}

const refPrefix = "#/components/schemas/"

func (j *judge) find(path, format string, args ...any) {
	j.findings = append(j.findings, path+": "+fmt.Sprintf(format, args...))
}

// resolve follows references. Kubernetes writes a reference with a description as an allOf of one.
func (j *judge) resolve(path string, s *schema) *schema {
	for s != nil && (s.Ref != "" || len(s.AllOf) > 0) {
		switch {
		case s.Ref != "":
			s = j.named[strings.TrimPrefix(s.Ref, refPrefix)]
		case len(s.AllOf) == 1:
			s = s.AllOf[0]
		default:
			s = nil
		}
	}
	if s == nil {
		j.find(path, "a reference leads to no schema")
		s = &schema{}
	}
	return s
}

func (j *judge) check(path string, s *schema, value any) {
	s = j.resolve(path, s)
	if choices := slices.Concat(s.OneOf, s.AnyOf); len(choices) > 0 {
		fits := func(choice *schema) bool {
			other := judge{named: j.named}
			other.check(path, choice, value)
			return len(other.findings) == 0
		}
		if !slices.ContainsFunc(choices, fits) {
			j.find(path, "%v fits none of %d types", value, len(choices))
		}
	} else {
		j.checkType(path, s, value)
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, value) {
		j.find(path, "%v is none of %v", value, s.Enum)
	}
	if text, is := value.(string); is {
		if len(text) < s.MinLength {
			j.find(path, "%q is shorter than %d", text, s.MinLength)
		}
		if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(text) {
			j.find(path, "%q does not match %s", text, s.Pattern)
		}
	}
}

func (j *judge) checkType(path string, s *schema, value any) {
	right := false
	switch s.Type {
	case "object":
		var fields map[string]any
		if fields, right = value.(map[string]any); right {
			j.checkFields(path, s, fields)
		}
	case "array":
		var entries []any
		if entries, right = value.([]any); right {
			j.checkEntries(path, s, entries)
		}
	case "string":
		_, right = value.(string)
	case "boolean":
		_, right = value.(bool)
	case "integer", "number":
		n, isInt := value.(int)
		f, isFloat := value.(float64)
		if right = isInt || isFloat && s.Type == "number"; isInt {
			f = float64(n)
		}
		if s.Minimum != nil && f < *s.Minimum || s.Maximum != nil && f > *s.Maximum || s.Format == "int32" && (f < math.MinInt32 || f > math.MaxInt32) {
			j.find(path, "%v is out of range", value)
		}
	}
	if !right {
		j.find(path, "%v is a %T, want %q", value, value, s.Type)
	}
}

func (j *judge) checkFields(path string, s *schema, fields map[string]any) {
	for _, name := range s.Required {
		if _, has := fields[name]; !has {
			j.find(path, "the required field %q is missing", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		of := s.Properties[name]
		if of == nil {
			of = s.AdditionalProperties
		}
		if of == nil {
			j.find(path, "unknown field %q", name)
			continue
		}
		j.check(path+"."+name, of, fields[name])
	}
}

func (j *judge) checkEntries(path string, s *schema, entries []any) {
	seen := map[string]bool{}
	for n, entry := range entries {
		at := fmt.Sprintf("%s[%d]", path, n)
		j.check(at, s.Items, entry)
		fields, isObject := entry.(map[string]any)
		if s.ListType != "map" || !isObject {
			continue
		}
		key := ""
		for _, name := range s.ListMapKeys {
			key += fmt.Sprintf(" %s=%v", name, fields[name])
		}
		if seen[key] {
			j.find(at, "a second entry with%s", key)
		}
		seen[key] = true
	}
}

// readSchema decodes text, which is JSON, and refuses keywords that schema does not have.
func readSchema(t *testing.T, from string, text []byte, to any) {
	t.Helper()
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(to); err != nil {
		t.Fatalf("%s: %v", from, err)
	}
}

// documents returns the objects of a text of YAML. A key that is there twice is an error.
func documents(t *testing.T, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var one map[string]any
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}
