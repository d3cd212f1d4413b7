//! Kernels in PTX, so that these tests need no compiler.

/// Kernels for compute capability 8.0.
pub const KERNELS: &str = r#"
.version 9.0
.target sm_80
.address_size 64

.file 1 "kernels.cu"
.global .align 4 .u32 counter = 7;
.const .align 4 .b8 table[8] = {1, 0, 0, 0, 2, 0, 0, 0};
.global .align 8 .u64 pointer = generic(counter);
.extern .shared .align 16 .b8 dynamic[];
.global .align 1 .b8 hello[8] = {104, 101, 108, 108, 111, 33, 10, 0};
.extern .func (.param .b32 count) vprintf(.param .b64 format, .param .b64 values);
.extern .func __assertfail(.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, .param .b64 e);

// out[i] = value for i < count, from any number of threads.
.visible .entry fill(.param .u64 out, .param .u32 value, .param .u32 count)
{
    .reg .pred %p<2>;
    .reg .b32 %r<7>;
    .reg .b64 %rd<5>;
    ld.param.u64 %rd1, [out];
    ld.param.u32 %r1, [value];
    ld.param.u32 %r2, [count];
    mov.u32 %r3, %ctaid.x;
    mov.u32 %r4, %ntid.x;
    mov.u32 %r5, %tid.x;
    mad.lo.s32 %r6, %r3, %r4, %r5;
    setp.ge.u32 %p1, %r6, %r2;
    @%p1 bra DONE;
    cvta.to.global.u64 %rd2, %rd1;
    mul.wide.u32 %rd3, %r6, 4;
    add.s64 %rd4, %rd2, %rd3;
    .loc 1 12 5
    st.global.u32 [%rd4], %r1;
DONE:
    ret;
}

// data[threadIdx.x] += value
.visible .entry add(.param .u64 data, .param .u32 value)
{
    .reg .b32 %r<5>;
    .reg .b64 %rd<5>;
    ld.param.u64 %rd1, [data];
    ld.param.u32 %r1, [value];
    mov.u32 %r2, %tid.x;
    cvta.to.global.u64 %rd2, %rd1;
    mul.wide.u32 %rd3, %r2, 4;
    add.s64 %rd4, %rd2, %rd3;
    .loc 1 21 5
    ld.global.u32 %r3, [%rd4];
    add.s32 %r4, %r3, %r1;
    st.global.u32 [%rd4], %r4;
    ret;
}

// Every thread writes its number to the same place, with nothing to order them.
.visible .entry race(.param .u64 out)
{
    .reg .b32 %r<2>;
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [out];
    cvta.to.global.u64 %rd2, %rd1;
    mov.u32 %r1, %ctaid.x;
    st.global.u32 [%rd2], %r1;
    ret;
}

// printf("hello!\n")
.visible .entry hello_from_kernel(.param .u64 out)
{
    .reg .b64 %rd<2>;
    mov.u64 %rd1, hello;
    {
    .param .b64 a;
    .param .b64 b;
    .param .b32 c;
    st.param.b64 [a], %rd1;
    st.param.b64 [b], 0;
    call.uni (c), vprintf, (a, b);
    }
    ret;
}

// assert(0)
.visible .entry assertion(.param .u64 out)
{
    .reg .b64 %rd<2>;
    mov.u64 %rd1, hello;
    {
    .param .b64 a;
    .param .b64 b;
    .param .b32 c;
    .param .b64 d;
    .param .b64 e;
    st.param.b64 [a], %rd1;
    st.param.b64 [b], %rd1;
    st.param.b32 [c], 31;
    st.param.b64 [d], %rd1;
    st.param.b64 [e], 1;
    call.uni __assertfail, (a, b, c, d, e);
    }
    ret;
}

// Never ends.
.visible .entry spin(.param .u64 out)
{
LOOP:
    bra LOOP;
    ret;
}

.visible .entry trap(.param .u64 out)
{
    trap;
    ret;
}

// A block of at most 64 threads.
.visible .entry bounded(.param .u64 out)
.maxntid 64, 1, 1
{
    ret;
}

// out[threadIdx.x] = dynamic[threadIdx.x], through static and dynamic shared memory.
.visible .entry shared(.param .u64 out)
{
    .shared .align 4 .b8 fixed[64];
    .reg .b32 %r<6>;
    .reg .b64 %rd<5>;
    ld.param.u64 %rd1, [out];
    mov.u32 %r1, %tid.x;
    shl.b32 %r2, %r1, 2;
    mov.u32 %r3, dynamic;
    add.s32 %r4, %r3, %r2;
    st.shared.u32 [%r4], %r1;
    ld.shared.u32 %r5, [%r4];
    cvta.to.global.u64 %rd2, %rd1;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd2, %rd3;
    st.global.u32 [%rd4], %r5;
    ret;
}

// out[0] = counter; out[1] = table[1]; out[2] = *pointer
.visible .entry variables(.param .u64 out)
{
    .reg .b32 %r<4>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [out];
    cvta.to.global.u64 %rd2, %rd1;
    ld.global.u32 %r1, [counter];
    ld.const.u32 %r2, [table+4];
    ld.global.u64 %rd3, [pointer];
    ld.u32 %r3, [%rd3];
    st.global.u32 [%rd2], %r1;
    st.global.u32 [%rd2+4], %r2;
    st.global.u32 [%rd2+8], %r3;
    ret;
}

// All blocks meet: each adds 1 to out[0] and waits until all have.
.visible .entry meet(.param .u64 out, .param .u32 blocks)
{
    .reg .pred %p<2>;
    .reg .b32 %r<4>;
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [out];
    ld.param.u32 %r1, [blocks];
    cvta.to.global.u64 %rd2, %rd1;
    atom.global.add.u32 %r2, [%rd2], 1;
WAIT:
    ld.relaxed.gpu.global.u32 %r3, [%rd2];
    setp.lt.u32 %p1, %r3, %r1;
    @%p1 bra WAIT;
    ret;
}
"#;

/// For compute capability 9.0: `out[blockIdx.x]` = rank of the block in its cluster.
pub const CLUSTER: &str = r#"
.version 9.0
.target sm_90
.address_size 64

.visible .entry rank(.param .u64 out)
{
    .reg .b32 %r<3>;
    .reg .b64 %rd<5>;
    ld.param.u64 %rd1, [out];
    mov.u32 %r1, %cluster_ctarank;
    mov.u32 %r2, %ctaid.x;
    cvta.to.global.u64 %rd2, %rd1;
    mul.wide.u32 %rd3, %r2, 4;
    add.s64 %rd4, %rd2, %rd3;
    st.global.u32 [%rd4], %r1;
    ret;
}
"#;

/// Nothing executes this instruction.
pub const UNSUPPORTED: &str = r#"
.version 9.0
.target sm_80
.address_size 64

.visible .entry strange(.param .u64 out)
{
    .reg .b32 %r<2>;
    vadd.s32.s32.s32 %r1, %r1, %r1;
    ret;
}
"#;
