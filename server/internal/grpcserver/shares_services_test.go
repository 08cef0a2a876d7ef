package grpcserver

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/await"
)

// hanging has calls that hang until release.
type hanging struct {
	verificationv1.UnimplementedOperatorServiceServer
	verificationv1.UnimplementedComparisonServiceServer
	entered chan struct{}
	release chan struct{}
}

func (h *hanging) hang(ctx context.Context) {
	h.entered <- struct{}{}
	until(ctx, h.release)
}

func (h *hanging) AllowRetry(ctx context.Context, _ *verificationv1.AllowRetryRequest) (*verificationv1.AllowRetryResponse, error) {
	h.hang(ctx)
	return &verificationv1.AllowRetryResponse{}, nil
}

func (h *hanging) ResolveVerification(ctx context.Context, _ *verificationv1.ResolveVerificationRequest) (*verificationv1.ResolveVerificationResponse, error) {
	h.hang(ctx)
	return &verificationv1.ResolveVerificationResponse{}, nil
}

func (h *hanging) CompareVerifiedOutputs(ctx context.Context, _ *verificationv1.CompareVerifiedOutputsRequest) (*verificationv1.CompareVerifiedOutputsResponse, error) {
	h.hang(ctx)
	return &verificationv1.CompareVerifiedOutputsResponse{}, nil
}

// TestG15_CallsOfOperatorsAndComparisonsAreBounded: their calls under way count for the caller's share as other calls do, and take
// no slot of GetStatus.
func TestG15_CallsOfOperatorsAndComparisonsAreBounded(t *testing.T) {
	for method, call := range map[string]func(context.Context, *grpc.ClientConn) error{
		verificationv1.OperatorService_AllowRetry_FullMethodName: func(ctx context.Context, conn *grpc.ClientConn) error {
			_, err := verificationv1.NewOperatorServiceClient(conn).AllowRetry(ctx, &verificationv1.AllowRetryRequest{})
			return err
		},
		verificationv1.OperatorService_ResolveVerification_FullMethodName: func(ctx context.Context, conn *grpc.ClientConn) error {
			_, err := verificationv1.NewOperatorServiceClient(conn).ResolveVerification(ctx, &verificationv1.ResolveVerificationRequest{})
			return err
		},
		verificationv1.ComparisonService_CompareVerifiedOutputs_FullMethodName: func(ctx context.Context, conn *grpc.ClientConn) error {
			_, err := verificationv1.NewComparisonServiceClient(conn).CompareVerifiedOutputs(ctx, &verificationv1.CompareVerifiedOutputsRequest{})
			return err
		},
	} {
		t.Run(method, func(t *testing.T) {
			const most = 4
			shed, h := &shedCalls{}, &hanging{entered: make(chan struct{}, most), release: make(chan struct{})}
			s := startOnPipe(t, Config{MaxInFlight: most, SharePercent: 50, Shed: shed.shed, Access: newNames()}, &fake{get: echo}, func(s *Server) {
				verificationv1.RegisterOperatorServiceServer(s, h)
				verificationv1.RegisterComparisonServiceServer(s, h)
			})
			answers := make(chan error, most)
			for _, name := range []string{"a", "a", "b", "b"} {
				go func() { answers <- call(caller(t, name), s.conn) }()
				await.One(t, h.entered)
			}
			wantOverloaded(t, call(caller(t, "a"), s.conn), "its share")
			wantOverloaded(t, call(caller(t, "c"), s.conn), "this server has")
			shed.want(t, method+" CALLER_SHARE_PERCENT", method+" GRPC_MAX_IN_FLIGHT")
			if _, err := s.client.GetStatus(caller(t, "a"), sessionRequest("vs_1")); err != nil {
				t.Errorf("GetStatus during the flood: %v", err)
			}
			close(h.release)
			for range most {
				if err := await.One(t, answers); err != nil {
					t.Errorf("a call under way: %v", err)
				}
			}
		})
	}
}
