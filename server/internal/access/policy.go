package access

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/authz"
)

// policy is grpc's authorization policy: deny rules, then allow rules, then no.
type policy struct{ engine *authz.StaticInterceptor }

func newPolicy(text string) (*policy, error) {
	engine, err := authz.NewStatic(text)
	if err != nil {
		return nil, fmt.Errorf("this is no authorization policy of grpc: %w", err)
	}
	return &policy{engine}, nil
}

// allows reports whether the caller whose call ctx belongs to may do what path stands for. The engine
// looks at the method that ctx names: it is shown one with that name. No policy allows nothing.
func (p *policy) allows(ctx context.Context, path string) bool {
	if p == nil {
		return false
	}
	named := grpc.NewContextWithServerTransportStream(ctx, renamed{grpc.ServerTransportStreamFromContext(ctx), path})
	allowed := false
	_, err := p.engine.UnaryInterceptor(named, nil, nil, func(context.Context, any) (any, error) {
		allowed = true
		return nil, nil
	})
	return err == nil && allowed
}

// renamed is a call under another method's name.
type renamed struct {
	grpc.ServerTransportStream
	method string
}

func (r renamed) Method() string { return r.method }
