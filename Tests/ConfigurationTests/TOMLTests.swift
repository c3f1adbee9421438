import Testing

@testable import Configuration

@Suite("TOML")
struct TOMLTests {
    /// Converts a document to JSON, with names in its order.
    private func plain(_ value: TOML.Value) -> String {
        switch value {
        case .string(let text): "\"\(text)\""
        case .integer(let number): "\(number)"
        case .float(let number): "\(number)"
        case .bool(let flag): "\(flag)"
        case .time(let time): time.text
        case .array(let list): "[" + list.map(plain).joined(separator: ",") + "]"
        case .table(let table): plain(table)
        }
    }
    private func plain(_ table: TOML.Table) -> String {
        "{" + table.names.map { "\($0):\(plain(table[$0]!.value))" }.joined(separator: ",") + "}"
    }

    @Test(
        "a document is its tables and values",
        arguments: [
            ("", "{}"), ("# only this\n\r\n\t", "{}"), ("a = 1 # one", "{a:1}"),
            ("\"a b\" . 'c' = true\na-1_ = false", "{a b:{c:true},a-1_:false}"),
            ("[a.b]\nc = 1\n[a]\nd = 2\n[x]", "{a:{b:{c:1},d:2},x:{}}"),
            ("a.b = 1\na.c = 2", "{a:{b:1,c:2}}"), ("a = {b.c = 1, d = {}}", "{a:{b:{c:1},d:{}}}"),
            ("[[a]]\nb = 1\n[a.c]\nd = 2\n[[a]]\nb = 3", "{a:[{b:1,c:{d:2}},{b:3}]}"),
            ("a = [1,[2 # x\n],\n\"3\",]", "{a:[1,[2],\"3\"]}"),
            ("a = +1_000\nb = 0xfF\nc = 0o17\nd = 0b10\ne = -0", "{a:1000,b:255,c:15,d:2,e:0}"),
            ("a = 1.5\nb = -1e3\nc = 1_0.0E-1\nd = inf\ne = -inf", "{a:1.5,b:-1000.0,c:1.0,d:inf,e:-inf}"),
            (#"a = "\t\"\\\u00e9\U0001F600""#, "{a:\"\t\"\\é😀\"}"), (#"a = '\t'"#, #"{a:"\t"}"#),
            ("a = \"\"\"\nx\\\n   y\n\"z\"\"\"\"", "{a:\"xy\n\"z\"\"}"), ("a = '''\n\\\n'''''", "{a:\"\\\n''\"}"),
            ("a = \"\"", "{a:\"\"}"),
        ])
    func documents(text: String, expected: String) throws { #expect(plain(try TOML.read(text)) == expected) }

    @Test(
        "invalid TOML is refused with its line",
        arguments: [
            ("a", 1), ("a =", 1), ("= 1", 1), ("a = 1 b = 2", 1), ("\na = x", 2), ("[\na]", 1), ("[a", 1), ("[[a]", 1),
            ("[]", 1), ("a = 1\na = 2", 2), ("[a]\n[a]", 2), ("a = 1\n[a]", 2), ("a = 1\na.b = 2", 2),
            ("a = {}\na.b = 1", 2), ("a = {}\n[a.b]", 2), ("a.b = 1\n[a]", 2), ("[a.b]\n[a]\nb.c = 1", 3),
            ("[[a]]\n[a]", 2), ("[a]\n[[a]]", 2), ("a = []\n[[a]]", 2), ("a = {b = 1\n}", 1), ("a = [1", 1),
            ("a = [1 2]", 1), ("a = {b = 1,}", 1), ("a = 01", 1), ("a = 1__0", 1), ("a = _1", 1), ("a = 0x", 1),
            ("a = 0x-1", 1), ("a = 1.", 1), ("a = .5", 1), ("a = 1e", 1), ("a = 9223372036854775808", 1),
            ("a = True", 1), ("a = \"x\ny\"", 1), ("a = \"\\q\"", 1), ("a = \"\\ud800\"", 1), ("a = \"\\u12\"", 1),
            ("a = \"\\", 1), ("a = \"\u{1}\"", 1), ("a = '''\n\n", 3), ("# \u{0}", 1), ("a = 1979-02-29", 1),
            ("a = 07:32:99", 1), ("a = +-1", 1), ("a = 1 \u{fe}", 1),
        ])
    func refusals(text: String, line: Int) {
        let failure = #expect(throws: TOML.Failure.self) { try TOML.read(text) }
        #expect(failure?.line == line)
    }
}
