# Run the appliance on its embedded defaults, in ./data
run *args:
    go run ./appliance serve {{args}}

# Run every test, with the race detector, and those that it leaves out without
test *args:
    go test -race {{args}} ./...
    .ci/allocations

# Run the Go benchmarks; compare two runs with benchstat
bench *args:
    go test -run '^$' -bench . -benchmem {{args}} ./...

# Vet and lint
lint:
    go vet ./...
    go tool -modfile=.ci/tools.mod golangci-lint run

# Build a container image
image tag="courier-gateway:dev":
    docker build -t {{tag}} .

# Pin the images of compose.yaml and the Dockerfile by digest; --check names those that are not
pin *args:
    sh ops/pin-images.sh {{args}}
