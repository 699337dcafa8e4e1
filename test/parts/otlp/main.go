// A receiver of OTLP traces, over gRPC and over HTTP, by OpenTelemetry's own protos. It prints where it listens, then each
// span as a line of JSON.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"sync"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

type span struct {
	Over         string            `json:"over"`
	Service      string            `json:"service"`
	TraceID      string            `json:"traceId"`
	SpanID       string            `json:"spanId"`
	ParentSpanID string            `json:"parentSpanId"`
	Name         string            `json:"name"`
	Kind         string            `json:"kind"`
	Status       string            `json:"status"`
	Attributes   map[string]string `json:"attributes"`
	Header       string            `json:"header"`
}

type receiver struct {
	collector.UnimplementedTraceServiceServer
	lock sync.Mutex
	out  *json.Encoder
}

func (r *receiver) Export(ctx context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	header := ""
	if md, ok := metadata.FromIncomingContext(ctx); ok && len(md.Get("x-test")) > 0 {
		header = md.Get("x-test")[0]
	}
	r.print("grpc", header, request)
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *receiver) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	traces := &collector.ExportTraceServiceRequest{}
	if err != nil || request.URL.Path != "/v1/traces" || proto.Unmarshal(body, traces) != nil {
		http.Error(response, "not OTLP", http.StatusBadRequest)
		return
	}
	r.print("http", request.Header.Get("x-test"), traces)
	answer, _ := proto.Marshal(&collector.ExportTraceServiceResponse{})
	response.Header().Set("Content-Type", "application/x-protobuf")
	response.Write(answer)
}

func (r *receiver) print(over, header string, request *collector.ExportTraceServiceRequest) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for _, resource := range request.GetResourceSpans() {
		service := text(resource.GetResource().GetAttributes())["service.name"]
		for _, scope := range resource.GetScopeSpans() {
			for _, one := range scope.GetSpans() {
				r.out.Encode(span{
					Over:         over,
					Service:      service,
					TraceID:      hex.EncodeToString(one.GetTraceId()),
					SpanID:       hex.EncodeToString(one.GetSpanId()),
					ParentSpanID: hex.EncodeToString(one.GetParentSpanId()),
					Name:         one.GetName(),
					Kind:         one.GetKind().String(),
					Status:       one.GetStatus().GetCode().String(),
					Attributes:   text(one.GetAttributes()),
					Header:       header,
				})
			}
		}
	}
}

func text(attributes []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, attribute := range attributes {
		all[attribute.GetKey()] = attribute.GetValue().GetStringValue()
	}
	return all
}

func main() {
	overGrpc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	overHTTP, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	traces := &receiver{out: json.NewEncoder(os.Stdout)}
	traces.out.Encode(map[string]string{"grpc": overGrpc.Addr().String(), "http": overHTTP.Addr().String()})
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, traces)
	go func() { panic(http.Serve(overHTTP, traces)) }()
	panic(server.Serve(overGrpc))
}
