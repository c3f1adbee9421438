import Foundation
import LinuxKernel
import NIOPosix
import SwiftProtobuf
import TTRPC
import Testing

@testable import ShimAPI

/// Clients that disconnect, send half a message, or don't read.
@Suite(
    "clients that don't behave", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct ClientsTests {
    @Test("ctr, killed in the middle of any call, costs only itself")
    func killedClients() throws {
        let outcome = try ContainerdTests().withContainerd(
            """
            run -d $rootfs t-vanish /bin/sh -c 'trap "exit 9" TERM; while true; do sleep 0.1; done'
            shim=$(cat run/io.containerd.runtime.v2.task/default/t-vanish/shim.pid)
            open() { ls /proc/$shim/fd | wc -l; }
            # Killed after so many milliseconds.
            vanish() { local after=$1; shift; c "$@" > /dev/null 2>&1 < /dev/null & local p=$!; sleep 0.$after; kill -KILL $p; wait $p 2> /dev/null; }
            c task exec --exec-id first t-vanish echo first; before=$(open)
            for after in 005 015 030 060 120 300; do
                vanish $after task exec --exec-id e$after t-vanish sleep 50
                vanish $after task metrics t-vanish; vanish $after task ps t-vanish; vanish $after task attach t-vanish
                vanish $after task pause t-vanish; c task resume t-vanish 2> /dev/null
                vanish $after task checkpoint t-vanish; vanish $after task kill -s USR1 t-vanish; vanish $after events
            done
            start=$(date +%s%3N); c task exec --exec-id last t-vanish echo fine; echo $(($(date +%s%3N) - start < 2000))
            for after in 100 400; do
                vanish $after run --runtime io.containerd.kata.v2 --rootfs $rootfs t-half$after sleep 50
                c task exec --exec-id h$after t-vanish echo other
            done
            vanish 020 task rm -f t-vanish
            for id in t-half100 t-half400 t-vanish; do
                for i in $(seq 400); do c task rm -f $id > /dev/null 2>&1; c c rm $id > /dev/null 2>&1; c c ls -q | grep -q $id || break; sleep 0.1; done
            done
            # A shim that was started for a ctr that died before its Create ends by itself, after thirty seconds.
            for i in $(seq 450); do ls /run/vc/vm | grep -q -e t-half -e t-vanish || break; sleep 0.1; done
            c c ls -q | wc -l; ls /run/vc/vm | grep -c -e t-half -e t-vanish
            """)
        #expect(outcome.output == "first\nfine\n1\nother\nother\n0\n0\n", "\(outcome.output) \(outcome.error)")
    }

    /// Calls the task API from this process.
    private struct Shim {
        let client: RPCClient
        let path: String
        let id: String

        func call<Reply: Message>(_ method: String, _ request: some Message) async throws -> Reply {
            try await client.call("containerd.task.v2.Task", method, request, timeout: .seconds(60))
        }

        /// Whether the shim reports the container's state at all: a shim that waits for another client does not.
        func answers() async throws -> Bool {
            var request = Containerd_Task_V2_StateRequest()
            request.id = id
            let state: Containerd_Task_V2_StateResponse = try await call("State", request)
            return state.status == .running
        }

        func exec(_ name: String, _ script: String, stdin: String = "", stdout: String = "") async throws {
            var request = Containerd_Task_V2_ExecProcessRequest()
            (request.id, request.execID, request.stdin, request.stdout) = (id, name, stdin, stdout)
            request.spec.typeURL = "types.containerd.io/opencontainers/runtime-spec/1/Process"
            let process: [String: Any] = [
                "args": ["/bin/sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"], "user": ["uid": 0, "gid": 0],
            ]
            request.spec.value = try JSONSerialization.data(withJSONObject: process)
            let _: Google_Protobuf_Empty = try await call("Exec", request)
            var start = Containerd_Task_V2_StartRequest()
            (start.id, start.execID) = (id, name)
            let _: Containerd_Task_V2_StartResponse = try await call("Start", start)
        }

        /// The exit status of an added process.
        func end(_ name: String) async throws -> UInt32 {
            var request = Containerd_Task_V2_WaitRequest()
            (request.id, request.execID) = (id, name)
            let end: Containerd_Task_V2_WaitResponse = try await call("Wait", request)
            var deletion = Containerd_Task_V2_DeleteRequest()
            (deletion.id, deletion.execID) = (id, name)
            let _: Containerd_Task_V2_DeleteResponse = try await call("Delete", deletion)
            return end.exitStatus
        }
    }

    @Test("whatever a client of the shim's socket does, calls of others are answered, and nothing of it stays")
    func strangers() async throws {
        try await Lab.apart { try await meetStrangers() }
    }

    private func meetStrangers() async throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("sleep 1000")
        let started = try lab.sh(
            "\(lab.kata) create -b bundle t-strange < /dev/null > out 2>&1 && \(lab.kata) start t-strange; jq -r .address state/t-strange/state.json; mkfifo nobody in slow"
        )
        let path = started.output.trimmingCharacters(in: .newlines)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let shim = Shim(client: try await RPCClient.connect(unixPath: path, on: loop), path: path, id: "t-strange")
        let ledger = try String(contentsOfFile: "/run/vc/vm/t-strange/ledger", encoding: .utf8)
        let keepers = ledger.split(separator: "\n").filter { $0.contains("keeper") }
        let pid = try #require(keepers.last?.firstMatch(of: /"pid":([0-9]+)/)?.1)
        func descriptors() -> Int { Files.list("/proc/\(pid)/fd").count }
        #expect(try await shim.answers())
        try await shim.exec("first", "exit 3")
        #expect(try await shim.end("first") == 3)
        let before = descriptors()

        // Output without a reader and input without a writer: the process ends all the same, and its end is reported.
        try await shim.exec(
            "unread", "head -c 3000000 /dev/zero & sleep 0.3; exit 4", stdin: lab.directory + "/in",
            stdout: lab.directory + "/nobody")
        #expect(try await shim.answers())
        #expect(try await shim.end("unread") == 4)

        // A slow reader gets every byte, and delays no other client.
        let slow = try FileDescriptor.open(lab.directory + "/slow", O_RDONLY | O_NONBLOCK)
        try await shim.exec("slow", "head -c 600000 /dev/zero; exit 5", stdout: lab.directory + "/slow")
        var taken = 0
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        for step in 0..<400 where taken < 600_000 {
            taken += max(0, read(slow.raw, &chunk, chunk.count))
            if step % 4 == 0 { #expect(try await shim.answers()) }
            try await Task.sleep(for: .milliseconds(40))
        }
        #expect(try await shim.end("slow") == 5 && taken == 600_000)

        // Children hold the streams open for longer than a call waits.
        try await shim.exec("children", "sleep 1001 & echo; exit 6", stdout: lab.directory + "/slow")
        #expect(try await shim.end("children") == 6)
        try await shim.exec("reaper", "kill $(ps | grep 'sleep 100[1]' | awk '{print $1}')")
        #expect(try await shim.end("reaper") == 0)

        do {
            // Sends nothing, half a frame, and a call whose caller disconnects.
            var silent: [SharedDescriptor] = []
            for number in 0..<2000 {
                let socket = try UnixSocket.connect(path)
                if number % 3 == 0 { try socket.writeAll([0, 0, 16, 0, 0, 0], to: "half a frame") }
                silent.append(SharedDescriptor(socket))
                if number % 500 == 0 { #expect(try await shim.answers()) }
            }
            let waiting = try await RPCClient.connect(unixPath: path, on: loop)
            var request = Containerd_Task_V2_WaitRequest()
            request.id = "t-strange"
            let asked = request
            let wait = Task<Void, any Error> {
                let _: Containerd_Task_V2_WaitResponse = try await waiting.call(
                    "containerd.task.v2.Task", "Wait", asked, timeout: .seconds(20))
            }
            try await Task.sleep(for: .milliseconds(50))
            await waiting.close()
            _ = await wait.result
            #expect(descriptors() < before + 600)
            #expect(try await shim.answers())
        }
        // Waits for the deadline of the unread stream.
        for _ in 0..<400 where descriptors() > before { try await Task.sleep(for: .milliseconds(100)) }
        #expect(descriptors() <= before)
        await shim.client.close()
        let end = try lab.sh("\(lab.kata) exec t-strange echo fine < /dev/null; \(lab.kata) delete --force t-strange")
        #expect(end.output == "fine\n", "\(end.error)")
        #expect(try lab.leftovers("t-strange") == "")
    }
}
